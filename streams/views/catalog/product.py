"""Every product as the shop shows it."""

from collections.abc import Iterable, Iterator

from schemas import product
from schemas.event import iso_utc
from schemas.product import ProductEvent
from streams.engine.consumer import Row

TOPIC = product.TOPIC


def fold(row: Row | None, event: ProductEvent) -> Row | None:
    return {
        **event.data,
        "version": event.version,
        "archived": event.type == "ProductArchived",
        "updated_at": iso_utc(event.occurred_at),
    }


def expected(states: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    return ((state["sku"], state) for state in states)
