"""Every order's parcels, and the steps by which they have come there; what needs a person is found by time."""

from collections.abc import Iterable, Iterator

from kernel.steps import row_of
from schemas import fulfilment
from schemas.fulfilment import FulfilmentEvent
from streams.engine.consumer import Row, SortKey

TOPIC = fulfilment.TOPIC


def fold(row: Row | None, event: FulfilmentEvent) -> Row:
    return row_of(row, event, event.data)


def expected(states: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    return ((state["order_id"], state) for state in states)


def _by_case(row: Row) -> Iterator[SortKey]:
    for case in row["cases"]:
        yield case["since"], case["kind"], case["number"]


INDEXES = {"cases": _by_case}
