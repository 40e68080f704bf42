"""What is in the warehouse, what of it is promised, and what can be sold."""

from collections.abc import Iterable, Iterator

from schemas.event import Event, iso_utc
from streams.engine.consumer import Row

TOPIC = "marea.stock"
RANK = "available"


def fold(row: Row | None, event: Event) -> Row | None:
    if event.type not in ("StockReceived", "StockAdjusted", "StockReserved", "StockReleased"):
        return row
    on_hand, reserved = event.data["on_hand"], event.data["reserved"]
    return {
        "sku": event.key,
        "version": event.version,
        "on_hand": on_hand,
        "reserved": reserved,
        "available": on_hand - reserved,
        "updated_at": iso_utc(event.occurred_at),
    }


def expected(states: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    return ((state["sku"], state) for state in states)
