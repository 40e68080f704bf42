"""Every order's returns, and the steps by which they have come there; what needs a person is found by time."""

from collections.abc import Iterable, Iterator

from kernel.steps import row_of
from schemas import returns
from schemas.returns import ReturnsEvent
from streams.engine.consumer import Row, SortKey

TOPIC = returns.TOPIC


def fold(row: Row | None, event: ReturnsEvent) -> Row:
    return row_of(row, event, event.data)


def expected(states: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    return ((state["order_id"], state) for state in states)


def _by_case(row: Row) -> Iterator[SortKey]:
    """A return waits for somebody to approve it, or to inspect what has come back."""
    for each in row["returns"]:
        if each["status"] in ("requested", "received"):
            yield row["updated_at"], each["status"], each["number"]


INDEXES = {"cases": _by_case}
