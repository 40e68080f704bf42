"""The history of orders: one row a change of an order's state. No row is ever replaced by another one."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from schemas import order
from schemas.order import STATUS, OrderEvent
from streams.engine.consumer import Row

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
    argMax(line_count, version) AS line_count,
    argMax(placed_at, version) AS placed_at,
    argMax(occurred_at, version) AS updated_at
FROM {table:Identifier} FINAL GROUP BY order_id
"""


def rows(event: OrderEvent) -> list[Row]:
    data = event.data
    reason = event.data["reason"] if event.type == "OrderRejected" or event.type == "OrderCancelled" else None
    return [
        {
            "order_id": event.key,
            "version": event.version,
            "status": STATUS[event.type],
            "reason": reason or "",
            "currency": data["currency"],
            "total_minor": data["total_minor"],
            "line_count": len(event.data["lines"]) if event.type == "OrderPlaced" else event.data["line_count"],
            "placed_at": data["placed_at"],
            "occurred_at": event.occurred_at,
        }
    ]


def expected(states: Iterable[Row]) -> Iterator[Row]:
    for state in states:
        yield {
            "order_id": state["id"],
            "changes": state["version"],
            "status": state["status"],
            "reason": state["reason"] or "",
            "currency": state["currency"],
            "total_minor": state["total_minor"],
            "line_count": len(state["lines"]),
            "placed_at": datetime.fromisoformat(state["placed_at"]),
            "updated_at": datetime.fromisoformat(state["updated_at"]),
        }
