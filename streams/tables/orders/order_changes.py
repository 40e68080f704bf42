"""The history of orders: one row a change of an order's state. No row is ever replaced by another one."""

from collections.abc import Iterable, Iterator

from schemas import order
from schemas.order import OrderEvent
from streams.engine.consumer import Row
from streams.tables.orders import orders

TOPIC = order.TOPIC

# Compared is what the changes of an order come to; a missing or doubled one changes their number.
STATE_QUERY = """
SELECT
    order_id,
    count() AS changes,
    argMax(status, version) AS status,
    argMax(reason, version) AS reason,
    argMax(currency, version) AS currency,
    argMax(total_minor, version) AS total_minor,
    argMax(due_minor, version) AS due_minor,
    argMax(line_count, version) AS line_count,
    argMax(placed_at, version) AS placed_at,
    argMax(occurred_at, version) AS updated_at
FROM {table:Identifier} FINAL GROUP BY order_id
"""

_STATE = ("order_id", "status", "reason", "currency", "total_minor", "due_minor", "line_count", "placed_at")


def rows(event: OrderEvent) -> list[Row]:
    return [
        {**_of(state), "version": state["version"], "occurred_at": state["updated_at"]} for state in orders.rows(event)
    ]


def expected(states: Iterable[Row]) -> Iterator[Row]:
    for state in orders.expected(states):
        yield {**_of(state), "changes": state["version"], "updated_at": state["updated_at"]}


def _of(state: Row) -> Row:
    return {name: state[name] for name in _STATE}
