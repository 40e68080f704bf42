"""One row a stock item: what is there now."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from schemas import stock
from schemas.stock import StockEvent
from streams.engine.consumer import Row

TOPIC = stock.TOPIC


def rows(event: StockEvent) -> list[Row]:
    return [
        {
            "sku": event.key,
            "version": event.version,
            "on_hand": event.data["on_hand"],
            "reserved": event.data["reserved"],
            "updated_at": event.occurred_at,
        }
    ]


def expected(states: Iterable[Row]) -> Iterator[Row]:
    for state in states:
        kept = {name: state[name] for name in ("sku", "version", "on_hand", "reserved")}
        yield {**kept, "updated_at": datetime.fromisoformat(state["updated_at"])}
