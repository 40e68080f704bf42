"""Every product as the shop shows it, to be found by where it belongs."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import combinations

from schemas import product
from schemas.event import iso_utc
from schemas.product import ProductEvent
from streams.engine.consumer import Index, Row, SortKey

TOPIC = product.TOPIC

#: By each of them, and by any of them together, products are found in order of sku.
_FILTERS = ("department", "category", "brand")


def fold(row: Row | None, event: ProductEvent) -> Row | None:
    return {
        **event.data,
        "version": event.version,
        "archived": event.type == "ProductArchived",
        "updated_at": iso_utc(event.occurred_at),
    }


def index_and_prefix(filters: Mapping[str, str], *, archived: bool) -> tuple[str, SortKey]:
    """Where the products are that have these values, and are archived or not."""
    names = [name for name in _FILTERS if name in filters]
    return ",".join(("archived", *names)), _prefix(names, {**filters, "archived": archived})


def _prefix(names: Iterable[str], row: Row) -> SortKey:
    return ("archived" if row["archived"] else "current", *(row[name] for name in names))


def _by(names: Iterable[str], row: Row) -> Iterator[SortKey]:
    yield _prefix(names, row)


INDEXES: dict[str, Index] = {
    ",".join(("archived", *names)): partial(_by, names)
    for count in range(len(_FILTERS) + 1)
    for names in combinations(_FILTERS, count)
}


def expected(states: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    return ((state["sku"], state) for state in states)
