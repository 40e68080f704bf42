"""Every product as the shop shows it."""

from collections.abc import Iterable, Iterator

from schemas.event import Event, iso_utc
from streams.engine.consumer import Row

TOPIC = "marea.product"


def fold(row: Row | None, event: Event) -> Row | None:
    if event.type not in ("ProductCreated", "ProductUpdated", "ProductArchived"):
        return row
    return {
        **event.data,
        "version": event.version,
        "archived": event.type == "ProductArchived",
        "updated_at": iso_utc(event.occurred_at),
    }


def expected(states: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    return ((state["sku"], state) for state in states)
