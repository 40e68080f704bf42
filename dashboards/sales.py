"""Sales: what customers ordered and got, by day and product, what baskets look like, and what was lost."""

from dashboards.model import (
    SQL,
    STATES,
    THIRD,
    Dashboard,
    Row,
    Variable,
    columns,
    lines,
    ranking,
    stat,
    table,
)

#: Amounts are kept in minor units: divided by this they are in the currency itself.
_MINOR = """
SELECT multiIf('${currency}' IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND'), 1000,
    '${currency}' IN ('CLP', 'ISK', 'JPY', 'KRW', 'PYG', 'UGX', 'VND', 'XAF', 'XOF'), 1, 100)
"""
CURRENCY = Variable("currency", "Currency", SQL("SELECT currency FROM orders GROUP BY currency ORDER BY count() DESC"))
MINOR = Variable("minor", "Minor units", SQL(_MINOR.strip()), is_hidden=True)

_ORDERS = "FROM orders WHERE $__timeFilter(placed_at) AND currency = '${currency}'"
_SALES = "FROM sales WHERE $__dateFilter(day) AND currency = '${currency}'"
_LINES_OF_28_DAYS = "FROM order_lines WHERE placed_at >= now() - INTERVAL 28 DAY AND currency = '${currency}'"


def _by(column: str) -> SQL:
    return SQL(
        f"SELECT {column}, sum(amount_minor) / ${{minor}} AS sales {_SALES} AND status IN ('confirmed', 'completed')"
        f" GROUP BY {column} ORDER BY sales DESC LIMIT 10"
    )


def _amount(*statuses: str) -> SQL:
    among = ", ".join(f"'{status}'" for status in statuses)
    return SQL(f"SELECT sumIf(total_minor, status IN ({among})) / ${{minor}} AS amount {_ORDERS}")


_SOLD = Row(
    "What was sold",
    [
        stat("Sales (${currency})", "Value of the orders that were confirmed.", "locale", _amount("confirmed", "completed"), decimals=2),
        stat(
            "Orders confirmed",
            "Orders for which everything could be reserved.",
            "locale",
            SQL(f"SELECT countIf(status IN ('confirmed', 'completed')) AS orders {_ORDERS}"),
        ),
        stat(
            "Average basket (${currency})",
            "What a confirmed order is worth on average.",
            "locale",
            SQL(f"SELECT avgOrDefaultIf(total_minor, status IN ('confirmed', 'completed')) / ${{minor}} AS basket {_ORDERS}"),
            decimals=2,
        ),
        stat(
            "Lost for lack of stock (${currency})",
            "Value of the orders that were rejected because something was not there.",
            "locale",
            _amount("rejected"),
            decimals=2,
        ),
    ],
)
_DAYS = Row(
    "Day by day",
    [
        columns(
            "What became of each day's orders (${currency})",
            "Value of the orders that were placed on each day (UTC), by what has become of them.",
            "locale",
            SQL(
                "SELECT toStartOfDay(placed_at) AS time, status, sum(total_minor) / ${minor} AS value"
                f" {_ORDERS} GROUP BY time, status ORDER BY time, status",
                is_series=True,
            ),
            colours=STATES,
        ),
        ranking(
            "Sales by department (${currency})",
            "Confirmed sales of the departments that sell most.",
            "locale",
            _by("department"),
            width=12,
        ),
    ],
)
_SELLS = Row(
    "What sells",
    [
        ranking("Sales by category (${currency})", "The ten categories that sell most.", "locale", _by("category")),
        ranking("Sales by brand (${currency})", "The ten brands that sell most.", "locale", _by("brand")),
        table(
            "Best sellers of the last 28 days",
            "The products of which most units were ordered, whatever period is chosen above.",
            "locale",
            SQL(
                "SELECT any(name) AS product, sum(quantity) AS units, sum(quantity * unit_price_minor) / ${minor} AS ordered"
                f" {_LINES_OF_28_DAYS} GROUP BY sku ORDER BY units DESC, sku LIMIT 10"
            ),
            width=THIRD,
        ),
    ],
)
_BASKETS = Row(
    "Baskets",
    [
        ranking(
            "Baskets by value (${currency})",
            "How many orders are worth how much.",
            "locale",
            SQL(
                "SELECT concat(toString(least(intDiv(total_minor, 20 * ${minor}), 5) * 20),"
                " if(total_minor >= 100 * ${minor}, ' and more', concat(' to ', toString((intDiv(total_minor, 20 * ${minor}) + 1) * 20))))"
                f" AS worth, count() AS orders {_ORDERS} GROUP BY worth ORDER BY min(total_minor)"
            ),
        ),
        ranking(
            "Baskets by number of products",
            "How many orders have how many different products.",
            "locale",
            SQL(
                "SELECT multiIf(line_count = 1, '1', line_count <= 3, '2 to 3', line_count <= 7, '4 to 7', line_count <= 15,"
                f" '8 to 15', '16 and more') AS products, count() AS orders {_ORDERS} GROUP BY products ORDER BY min(line_count)"
            ),
        ),
        lines(
            "Average basket over time (${currency})",
            "What an order is worth on average, of all that were placed.",
            "locale",
            SQL(
                "SELECT $__timeInterval(placed_at) AS time, avg(total_minor) / ${minor} AS basket"
                f" {_ORDERS} GROUP BY time ORDER BY time",
                is_series=True,
            ),
            width=THIRD,
        ),
    ],
)
_LOST = Row(
    "What was not sold",
    [
        columns(
            "Orders rejected and cancelled",
            "How many orders were not served, by the moment at which they were placed.",
            "locale",
            SQL(
                "SELECT $__timeInterval(placed_at) AS time, status, count() AS orders"
                f" {_ORDERS} AND status IN ('rejected', 'cancelled') GROUP BY time, status ORDER BY time, status",
                is_series=True,
            ),
            colours=STATES,
            width=THIRD,
        ),
        ranking(
            "Value lost by department (${currency})",
            "What rejected orders asked for. An order is rejected as a whole: most of this was there.",
            "locale",
            SQL(
                "SELECT department, sum(amount_minor) / ${minor} AS lost"
                f" {_SALES} AND status = 'rejected' GROUP BY department ORDER BY lost DESC LIMIT 10"
            ),
        ),
        table(
            "Why orders were not served",
            "Reasons, with the number and the value of the orders.",
            "locale",
            SQL(
                "SELECT if(reason = '', 'the customer took it back', reason) AS why, status AS outcome, count() AS orders,"
                f" sum(total_minor) / ${{minor}} AS value {_ORDERS} AND status IN ('rejected', 'cancelled')"
                " GROUP BY why, outcome ORDER BY value DESC LIMIT 20"
            ),
            width=THIRD,
        ),
    ],
)

DASHBOARD = Dashboard(
    "marea-sales",
    "Sales",
    "What customers ordered and got, by day and by product, what their baskets look like, and what was lost.",
    [_SOLD, _DAYS, _SELLS, _BASKETS, _LOST],
    [CURRENCY, MINOR],
    since="now-30d",
    refresh="1m",
)
