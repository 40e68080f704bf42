"""Every payment, and the steps by which it has come there; what needs a person is found by time."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kernel.steps import row_of
from schemas import payment
from schemas.payment import PaymentEvent
from streams.engine.consumer import Row, SortKey

TOPIC = payment.TOPIC


def fold(row: Row | None, event: PaymentEvent) -> Row:
    return row_of(row, event, _shown(event.data))


def expected(states: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    return ((state["order_id"], _shown(state)) for state in states)


def _by_case(row: Row) -> Iterator[SortKey]:
    for case in row["cases"]:
        yield case["since"], case["kind"], case["number"]


INDEXES = {"cases": _by_case}


def _shown(state: Mapping[str, Any]) -> Row:
    """The card is nobody's business."""
    return {name: value for name, value in state.items() if name != "card_token"}
