"""Stock: what is there, what is promised, how it moves, and how long it will last."""

from dashboards.model import HALF, SQL, THIRD, Dashboard, Row, columns, lines, ranking, stat, table
from dashboards.sales import CURRENCY, MINOR

_ITEMS = "FROM stock_items"
_MINUTES = "FROM movements WHERE $__timeFilter(minute)"
_DESCRIBED = "FROM stock_items AS item JOIN products AS product ON item.sku = product.sku"
#: Units a day that were promised to orders in the last 28 days, by item; of items of which nothing was, there is no row.
_SOLD = (
    "SELECT sku, sum(quantity) / 28 AS a_day FROM order_lines WHERE placed_at >= now() - INTERVAL 28 DAY GROUP BY sku"
)
_COVERED = (
    "SELECT item.sku AS sku, item.on_hand - item.reserved AS available, sold.a_day AS a_day,"
    f" available / sold.a_day AS days FROM stock_items AS item JOIN ({_SOLD}) AS sold ON item.sku = sold.sku"
)

_THERE = Row(
    "What is there",
    [
        stat("Units on hand", "Units in the warehouse now.", "locale", SQL(f"SELECT sum(on_hand) AS units {_ITEMS}")),
        stat("Units reserved", "Of these, units that are promised to orders.", "locale", SQL(f"SELECT sum(reserved) AS units {_ITEMS}")),
        stat(
            "Products in stock",
            "Part of the products of which something can be sold now.",
            "percentunit",
            SQL(f"SELECT countIf(on_hand > reserved) / greatest(count(), 1) AS share {_ITEMS}"),
            (0.95, 0.8),
        ),
        stat(
            "Products sold out",
            "Products of which nothing can be sold until more arrives.",
            "locale",
            SQL(f"SELECT countIf(on_hand <= reserved) AS products {_ITEMS}"),
        ),
    ],
)
_MOVES = Row(
    "How it moves",
    [
        columns(
            "Movements by kind",
            "Units that were received, adjusted by a count, reserved for orders, and released when an order was not served.",
            "locale",
            SQL(
                "SELECT $__timeInterval(minute) AS time, kind, abs(sum(on_hand_delta + reserved_delta)) AS units"
                f" {_MINUTES} GROUP BY time, kind ORDER BY time, kind",
                is_series=True,
            ),
        ),
        ranking(
            "Units that can be sold, by department",
            "On hand and not promised to anybody, of the ten departments that have most.",
            "locale",
            SQL(
                f"SELECT department, sum(on_hand - reserved) AS units {_DESCRIBED} GROUP BY department ORDER BY units DESC LIMIT 10"
            ),
            width=HALF,
        ),
    ],
)
_LASTS = Row(
    "How long it lasts",
    [
        ranking(
            "Products by days of cover",
            "For how many days what is available would last, at the mean of the last 28 days.",
            "locale",
            SQL(
                "SELECT multiIf(days <= 0, 'sold out', days < 7, 'below a week', days < 28, 'below 4 weeks', days < 90,"
                f" 'below 3 months', 'longer') AS cover, count() AS products FROM ({_COVERED}) GROUP BY cover ORDER BY min(days)"
            ),
        ),
        table(
            "What runs out first",
            "The products that will be sold out first, at the mean of the last 28 days.",
            "locale",
            SQL(
                "SELECT product.name AS product, covered.available AS available, covered.a_day AS `sold a day`,"
                f" covered.days AS `days left` FROM ({_COVERED}) AS covered JOIN products AS product ON covered.sku = product.sku"
                " ORDER BY covered.days, covered.a_day DESC LIMIT 10"
            ),
            width=THIRD,
        ),
        ranking(
            "Value on hand by department (${currency})",
            "Units on hand at their list price, of the ten departments that hold most.",
            "locale",
            SQL(
                "SELECT department, sum(on_hand * price_minor) / ${minor} AS value"
                f" {_DESCRIBED} WHERE currency = '${{currency}}' GROUP BY department ORDER BY value DESC LIMIT 10"
            ),
        ),
    ],
)
_LEDGER = Row(
    "The ledger",
    [
        lines(
            "By how much stock changed",
            "Net change of the units that are promised to orders, and of those on hand.",
            "locale",
            SQL(
                "SELECT $__timeInterval(minute) AS time, sum(reserved_delta) AS reserved, sum(on_hand_delta) AS `on hand`"
                f" {_MINUTES} GROUP BY time ORDER BY time",
                is_series=True,
            ),
        ),
        table(
            "Adjustments by reason",
            "What counts corrected in this period: units added or missing, and how often.",
            "locale",
            SQL(
                "SELECT reason, sum(on_hand_delta) AS units, sum(movements) AS adjustments"
                f" {_MINUTES} AND kind = 'adjusted' GROUP BY reason ORDER BY adjustments DESC LIMIT 10"
            ),
        ),
    ],
)

DASHBOARD = Dashboard(
    "marea-stock",
    "Stock",
    "What is in the warehouse, what of it is promised, how it moves, and how long it will last.",
    [_THERE, _MOVES, _LASTS, _LEDGER],
    [CURRENCY, MINOR],
    since="now-7d",
    refresh="1m",
)
