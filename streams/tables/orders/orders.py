"""One row an order: its state now, without its lines."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from schemas.event import Event
from streams.engine.consumer import Row
from streams.views.orders.order import STATUS

TOPIC = "marea.order"


def rows(event: Event) -> list[Row]:
    if event.type not in STATUS:
        return []
    data = event.data
    return [
        {
            "order_id": event.key,
            "version": event.version,
            "customer_id": data["customer_id"],
            "status": STATUS[event.type],
            "reason": data.get("reason", ""),
            "currency": data["currency"],
            "total_minor": data["total_minor"],
            "line_count": len(data["lines"]) if event.type == "OrderPlaced" else data["line_count"],
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
