"""One row an order: its state now, without its lines."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from schemas import order
from schemas.order import STATUS, OrderEvent
from streams.engine.consumer import Row

TOPIC = order.TOPIC


def rows(event: OrderEvent) -> list[Row]:
    data = event.data
    reason = event.data["reason"] if event.type == "OrderRejected" or event.type == "OrderCancelled" else None
    return [
        {
            "order_id": event.key,
            "version": event.version,
            "customer_id": data["customer_id"],
            "status": STATUS[event.type],
            "reason": reason or "",
            "currency": data["currency"],
            "total_minor": data["total_minor"],
            "line_count": len(event.data["lines"]) if event.type == "OrderPlaced" else event.data["line_count"],
            "placed_at": data["placed_at"],
            "updated_at": event.occurred_at,
        }
    ]


def expected(states: Iterable[Row]) -> Iterator[Row]:
    for state in states:
        yield {
            "order_id": state["id"],
            "version": state["version"],
            "customer_id": state["customer_id"],
            "status": state["status"],
            "reason": state["reason"] or "",
            "currency": state["currency"],
            "total_minor": state["total_minor"],
            "line_count": len(state["lines"]),
            "placed_at": datetime.fromisoformat(state["placed_at"]),
            "updated_at": datetime.fromisoformat(state["updated_at"]),
        }
