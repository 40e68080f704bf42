"""Every order with its lines, its state, and the steps by which it has come there."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kernel.steps import row_of
from schemas import order
from schemas.order import OrderEvent
from streams.engine.consumer import Row

TOPIC = order.TOPIC

#: What the state has and the view has not: what only the services need.
_HIDDEN = frozenset({"order_id", "units", "card_token", "due_version", "undone_version", "is_credited", "returns_taken", "shipments_lost"})
#: What the first event does not say.
_SUMS = ("cancelled_minor", "lost_minor", "returned_minor", "goodwill_minor", "credit_given_minor", "credit_got_minor")


def fold(row: Row | None, event: OrderEvent) -> Row:
    if event.type == "OrderPlaced":
        fresh = {**event.data, **dict.fromkeys(_SUMS, 0), "cancel": None, "lines": _lines(event.data["lines"], None)}
        return row_of(None, event, _shown(fresh))
    if row is None:
        raise ValueError(f"{event.type} of an order that was not placed")
    return row_of(row, event, _shown({**event.data, "lines": _lines(row["lines"], event.data["units"])}))


def expected(states: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    for state in states:
        yield state["order_id"], _shown({**state, "lines": _lines(state["lines"], state["units"])})


def _shown(state: Mapping[str, Any]) -> Row:
    """Without `line_count` and the like, which its lines tell."""
    return {"id": state["order_id"], **{name: state[name] for name in state if name not in _HIDDEN}}


def _lines(lines: Sequence[Mapping[str, Any]], units: Sequence[Mapping[str, Any]] | None) -> list[Row]:
    """Each line with what of it will not come."""
    if units is None:
        return [{**line, "cancelled": 0, "lost": 0} for line in lines]
    return [
        {**line, "cancelled": each["cancelled"], "lost": each["lost"]} for line, each in zip(lines, units, strict=True)
    ]
