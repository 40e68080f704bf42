"""Money and goods: what was taken and given back, what is on its way, and what waits for somebody."""

from dashboards.model import HALF, SQL, THIRD, Dashboard, PromQL, Row, columns, lines, ranking, stat
from dashboards.sales import CURRENCY, MINOR

_MOVED = "FROM payment_changes WHERE $__timeFilter(occurred_at) AND currency = '${currency}'"
_REFUSED = "FROM payment_changes WHERE $__timeFilter(occurred_at) AND code != ''"
_DELIVERED = "FROM order_changes WHERE $__timeFilter(occurred_at) AND status = 'completed'"
_TOOK_S = "dateDiff('microsecond', placed_at, occurred_at) / 1e6"


def _amount(what: str) -> SQL:
    return SQL(f"SELECT sumIf(amount_minor, what = '{what}') / ${{minor}} AS amount {_MOVED}")


_RIGHT = Row(
    "Is anything amiss",
    [
        stat(
            "Money or goods that differ",
            "What did not agree when verify last looked: our books with the provider's, what was paid with what is due, units.",
            "locale",
            PromQL('sum(marea_verify_differences{consumer=~"(money|goods|order)[.].+"})'),
            (1, 1),
        ),
        stat(
            "Nobody knows",
            "Payments of which nobody knows whether the provider has done what it was asked for.",
            "locale",
            PromQL("marea_payments_unknown"),
            (1, 10),
        ),
        stat(
            "Waits for a person",
            "Payments and shipments that go on only when somebody settles them.",
            "locale",
            PromQL("marea_payments_cases + marea_shipping_cases"),
            (1, 20),
        ),
        stat(
            "Companies that do not answer",
            "The provider of payments and the carrier are left alone for a while when they give no answer.",
            "locale",
            PromQL("sum(max by (name) (marea_breaker_open))"),
            (1, 1),
        ),
    ],
)
_MONEY = Row(
    "Money",
    [
        stat("Taken (${currency})", "What was captured in this period.", "locale", _amount("PaymentCaptured"), decimals=2),
        stat("Given back (${currency})", "What was refunded in this period.", "locale", _amount("PaymentRefunded"), decimals=2),
        stat(
            "Held (${currency})",
            "What is authorized and not captured, of all payments.",
            "locale",
            SQL("SELECT sum(authorized_minor) / ${minor} AS amount FROM payments WHERE currency = '${currency}'"),
            decimals=2,
        ),
        stat(
            "Declined",
            "Part of the authorizations that were asked for that the provider declined.",
            "percentunit",
            SQL(
                "SELECT countIf(what = 'PaymentDeclined') / greatest(countIf(what IN ('PaymentDeclined', 'PaymentAuthorized')), 1)"
                f" AS share {_MOVED}"
            ),
            (0.1, 0.2),
        ),
    ],
)
_MOVES = Row(
    "How it moves",
    [
        columns(
            "Captured and refunded",
            "Money that was taken, and that was given back.",
            "locale",
            SQL(
                "SELECT $__timeInterval(occurred_at) AS time, if(what = 'PaymentCaptured', 'captured', 'refunded') AS moved,"
                f" sum(amount_minor) / ${{minor}} AS amount {_MOVED} AND what IN ('PaymentCaptured', 'PaymentRefunded')"
                " GROUP BY time, moved ORDER BY time, moved",
                is_series=True,
            ),
        ),
        ranking(
            "Payments by state",
            "All payments, by what has become of them.",
            "locale",
            SQL("SELECT status, count() AS payments FROM payments GROUP BY status ORDER BY payments DESC"),
            width=HALF,
        ),
        ranking(
            "Refused, by reason",
            "Why the provider refused what it was asked for, or what it held is gone.",
            "locale",
            SQL(f"SELECT code, count() AS refusals {_REFUSED} GROUP BY code ORDER BY refusals DESC LIMIT 10"),
            width=HALF,
        ),
        ranking(
            "What was done",
            "Changes of payments in this period, by kind.",
            "locale",
            SQL(f"SELECT what, count() AS changes {_MOVED} GROUP BY what ORDER BY changes DESC"),
            width=HALF,
        ),
    ],
)
_GOODS = Row(
    "Goods",
    [
        ranking(
            "Shipments by state",
            "All parcels, by where they are.",
            "locale",
            SQL("SELECT status, count() AS shipments FROM shipments GROUP BY status ORDER BY shipments DESC"),
        ),
        ranking(
            "Returns by state",
            "All returns: what was asked for, has come, and was paid back.",
            "locale",
            SQL("SELECT status, count() AS returns FROM returns GROUP BY status ORDER BY returns DESC"),
        ),
        lines(
            "From placing an order to its end",
            "Half of the orders that were completed took less than `half`, and one in twenty longer than `95 of 100`.",
            "s",
            SQL(
                "SELECT time, took[1] AS half, took[2] AS `95 of 100` FROM (SELECT $__timeInterval(occurred_at) AS time,"
                f" quantiles(0.5, 0.95)({_TOOK_S}) AS took {_DELIVERED} GROUP BY time) ORDER BY time",
                is_series=True,
            ),
            width=THIRD,
        ),
    ],
)
_LATER = Row(
    "What is to be done",
    [
        lines(
            "Calls outside",
            "Tasks by service, kind and state. Those that are `due` wait for a worker; `given up` ones need somebody.",
            "locale",
            PromQL("sum by (service, name, state) (marea_tasks)", "{{service}} {{name}} {{state}}"),
        ),
        lines(
            "Deadlines",
            "Moments at which something falls due, by service and name.",
            "locale",
            PromQL("sum by (service, name) (marea_deadlines)", "{{service}} {{name}}"),
        ),
    ],
)

DASHBOARD = Dashboard(
    "marea-money",
    "Money and goods",
    "What was taken and given back, where parcels are, and what waits for a person.",
    [_RIGHT, _MONEY, _MOVES, _GOODS, _LATER],
    [CURRENCY, MINOR],
    refresh="10s",
)
