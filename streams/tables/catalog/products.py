"""One row a product: as the catalog has it now."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from schemas import product
from schemas.product import ProductEvent
from streams.engine.consumer import Row

TOPIC = product.TOPIC


def rows(event: ProductEvent) -> list[Row]:
    return [
        {
            **event.data,
            "version": event.version,
            "archived": event.type == "ProductArchived",
            "updated_at": event.occurred_at,
        }
    ]


def expected(states: Iterable[Row]) -> Iterator[Row]:
    return ({**state, "updated_at": datetime.fromisoformat(state["updated_at"])} for state in states)
