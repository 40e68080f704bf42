"""What is in the warehouse, what of it is promised, and what can be sold."""

from collections.abc import Iterable, Iterator

from schemas import stock
from schemas.event import iso_utc
from schemas.stock import StockEvent
from streams.engine.consumer import Row, SortKey

TOPIC = stock.TOPIC

def fold(row: Row | None, event: StockEvent) -> Row | None:
    on_hand, reserved = event.data["on_hand"], event.data["reserved"]
    return {
        "sku": event.key,
        "version": event.version,
        "on_hand": on_hand,
        "reserved": reserved,
        "available": on_hand - reserved,
        "updated_at": iso_utc(event.occurred_at),
    }


def _by_available(row: Row) -> Iterator[SortKey]:
    yield (row["available"],)


INDEXES = {"available": _by_available}


def expected(states: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    return ((state["sku"], state) for state in states)
