"""The steps by which an aggregate has come where it is, beside what its last event tells."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from schemas.event import Event, jsonable

Step = dict[str, Any]

#: The most steps that are kept of one aggregate: the last ones. Only who repeats what is declined has more.
MOST_STEPS = 200


def step_of(event: Event[Any, Any]) -> Step:
    """One step of an aggregate: what happened, when, and why, where that is not plain."""
    return {"type": event.type, "at": jsonable(event.occurred_at), "reason": event.data.get("reason")}


def steps_after(steps: Sequence[Step], events: Iterable[Event[Any, Any]]) -> list[Step]:
    """The last steps, up to these events."""
    return [*steps, *map(step_of, events)][-MOST_STEPS:]


def row_of(row: Mapping[str, Any] | None, event: Event[Any, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a view that shows an aggregate as it is kept: after the event, being `row` before."""
    return {
        **jsonable(state),
        "version": event.version,
        "steps": steps_after(row["steps"] if row else [], [event]),
        "updated_at": jsonable(event.occurred_at),
    }
