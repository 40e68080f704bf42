"""Every order with its lines and its state."""

from collections.abc import Iterable, Iterator

from schemas.event import Event, iso_utc
from streams.engine.consumer import Row

TOPIC = "marea.order"
STATUS = {
    "OrderPlaced": "placed",
    "OrderConfirmed": "confirmed",
    "OrderRejected": "rejected",
    "OrderCancelled": "cancelled",
}


def fold(row: Row | None, event: Event) -> Row | None:
    if event.type not in STATUS:
        return row
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
        "reason": event.data.get("reason"),
        "updated_at": iso_utc(event.occurred_at),
    }


def expected(states: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    return ((state["id"], state) for state in states)
