"""Every order with its lines and its state."""

from collections.abc import Iterable, Iterator

from schemas import order
from schemas.event import iso_utc
from schemas.order import STATUS, OrderEvent
from streams.engine.consumer import Row

TOPIC = order.TOPIC


def fold(row: Row | None, event: OrderEvent) -> Row:
    if event.type == "OrderPlaced":
        row = {
            "id": event.key,
            "customer_id": event.data["customer_id"],
            "currency": event.data["currency"],
            "total_minor": event.data["total_minor"],
            "lines": event.data["lines"],
            "placed_at": iso_utc(event.data["placed_at"]),
        }
    if row is None:
        raise ValueError(f"{event.type} of an order that was not placed")
    return {
        **row,
        "version": event.version,
        "status": STATUS[event.type],
        "reason": event.data["reason"] if event.type == "OrderRejected" or event.type == "OrderCancelled" else None,
        "updated_at": iso_utc(event.occurred_at),
    }


def expected(states: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    return ((state["id"], state) for state in states)
