"""Orders: what becomes of them and how soon, and what stands behind an order that waits."""

from dashboards.model import (
    SQL,
    STATES,
    THIRD,
    WHOLE,
    Dashboard,
    PromQL,
    Row,
    columns,
    lines,
    ranking,
    stat,
    table,
)

_PLACED = "FROM orders WHERE $__timeFilter(placed_at)"
_CHANGES = "FROM order_changes WHERE $__timeFilter(occurred_at)"
#: Of orders that have been answered, the time that it took: one that is confirmed again, without some of its units, has been before.
_ANSWERED = f"{_CHANGES} AND (status = 'rejected' AND version = 2 OR status = 'confirmed' AND version = 3)"
_WAITING = "FROM orders WHERE status IN ('placed', 'reserved')"
_TOOK_S = "dateDiff('microsecond', placed_at, occurred_at) / 1e6"

_NOW = Row(
    "How orders are doing",
    [
        stat("Orders placed", "Orders that customers placed in this period.", "locale", SQL(f"SELECT count() AS orders {_PLACED}")),
        stat(
            "Confirmed",
            "Part of the answered orders that could be served, and were paid for.",
            "percentunit",
            SQL(f"SELECT countIf(status IN ('confirmed', 'stopping', 'completed')) / greatest(countIf(status NOT IN ('placed', 'reserved')), 1)"
                f" AS share {_PLACED}"),
            (0.95, 0.8),
        ),
        stat(
            "Waiting for an answer",
            "Orders that are neither confirmed nor rejected nor cancelled yet, whenever they were placed.",
            "locale",
            SQL(f"SELECT count() AS orders {_WAITING}"),
            (100, 1_000),
        ),
        stat(
            "Longest wait",
            "How long the oldest of those has been waiting. An order that is not answered in time is cancelled.",
            "s",
            SQL(
                "SELECT if(count() = 0, 0, dateDiff('microsecond', min(placed_at), now64(6)) / 1e6) AS seconds"
                f" {_WAITING}"
            ),
            (10, 60),
        ),
    ],
)
_TIME = Row(
    "What happens to them",
    [
        columns(
            "Changes of orders",
            "How many orders were placed, reserved, confirmed, completed, rejected and cancelled.",
            "locale",
            SQL(
                f"SELECT $__timeInterval(occurred_at) AS time, status, count() AS orders {_CHANGES}"
                " GROUP BY time, status ORDER BY time, status",
                is_series=True,
            ),
            colours=STATES,
        ),
        lines(
            "Time until an order is answered",
            "From placing an order to its confirmation, payment included, or rejection: half of the orders took less than `half`, and one in a"
            " hundred longer than `99 of 100`.",
            "s",
            SQL(
                "SELECT time, took[1] AS half, took[2] AS `95 of 100`, took[3] AS `99 of 100` FROM (SELECT"
                f" $__timeInterval(occurred_at) AS time, quantiles(0.5, 0.95, 0.99)({_TOOK_S}) AS took {_ANSWERED}"
                " GROUP BY time) ORDER BY time",
                is_series=True,
            ),
        ),
    ],
)
_ENDS = Row(
    "How they end",
    [
        ranking(
            "What has become of the orders",
            "The orders of this period by their state now.",
            "locale",
            SQL(f"SELECT status, count() AS orders {_PLACED} GROUP BY status ORDER BY orders DESC"),
        ),
        ranking(
            "How long answers took",
            "How many orders were answered within how much time.",
            "locale",
            SQL(
                "SELECT multiIf(took < 0.05, 'below 50 ms', took < 0.1, 'below 100 ms', took < 0.25, 'below 250 ms', took < 1,"
                " 'below 1 s', took < 10, 'below 10 s', 'longer') AS within, count() AS orders"
                f" FROM (SELECT {_TOOK_S} AS took {_ANSWERED}) GROUP BY within ORDER BY min(took)"
            ),
        ),
        ranking(
            "Orders that wait, by age",
            "All orders without an answer. The older ones should be very few.",
            "locale",
            SQL(
                "SELECT bounds.1 AS age, countIf(waits >= bounds.2 AND waits < bounds.3) AS orders FROM (SELECT"
                " dateDiff('second', placed_at, now()) AS waits FROM orders WHERE status IN ('placed', 'reserved') UNION ALL SELECT -1)"
                " ARRAY JOIN [('below 10 s', 0, 10), ('below 1 min', 10, 60), ('below 15 min', 60, 900),"
                " ('older', 900, 4294967295)] AS bounds GROUP BY bounds ORDER BY bounds.2"
            ),
        ),
    ],
)
_SAGA = Row(
    "What stands behind them",
    [
        lines(
            "Orders without an answer",
            "As the database of orders has it, whatever the tables show.",
            "locale",
            PromQL("marea_orders_unsettled", "orders"),
            width=THIRD,
        ),
        lines(
            "Behind with reactions",
            "How old the oldest event is that a service has not answered yet. Orders wait for these.",
            "s",
            PromQL('max by (consumer) (marea_consumer_lag_seconds{kind="reaction"})', "{{consumer}}"),
            width=THIRD,
        ),
        lines(
            "Deadlines",
            "Moments at which orders fall due, by service and state. `due` ones are overdue, `failing` ones could not be carried out.",
            "locale",
            PromQL("sum by (service, name, state) (marea_deadlines)", "{{service}} {{name}} {{state}}"),
            width=THIRD,
        ),
    ],
)
_LATEST = Row(
    "The latest",
    [
        table(
            "The latest changes",
            "What happened to orders last, how long after they had been placed.",
            "s",
            SQL(
                "SELECT occurred_at AS at, order_id AS order, status AS became, reason AS why,"
                f" {_TOOK_S} AS after, line_count AS products {_CHANGES} ORDER BY occurred_at DESC LIMIT 20"
            ),
            width=WHOLE,
            units={"products": "locale"},
        ),
    ],
)

DASHBOARD = Dashboard(
    "marea-orders",
    "Orders",
    "What becomes of orders and how soon: from placing one, through reserving its stock, to the answer.",
    [_NOW, _TIME, _ENDS, _SAGA, _LATEST],
    refresh="10s",
)
