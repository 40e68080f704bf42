"""Aggregates that are kept as their last event tells them, in a table of their service's own.

An event carries its aggregate's whole state, so the row has it, too. Beside it are notes: what the service has to know and
publishes to nobody, as the newest facts of others; and the steps by which the aggregate has come where it is.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar, cast

import orjson
from psycopg2.extensions import cursor as Cursor

from kernel.answers import Answer
from kernel.outbox import Event_contra, Outbox
from kernel.steps import Step, steps_after
from schemas.event import Event, jsonable
from schemas.json import typed

State = TypeVar("State")
Notes = dict[str, Any]


_NOTHING = object()


class Kept(NamedTuple, Generic[State]):
    """An aggregate as it is kept. Version 0: nothing has happened to it yet, and it has no state."""

    id: str
    version: int
    state: State | None
    notes: Notes
    steps: Sequence[Step]
    updated_at: datetime


class Changed(NamedTuple, Generic[State]):
    """What is to be written of a locked aggregate: what has happened to it, in order, which may be nothing, and its notes."""

    before: Kept[State]
    events: Sequence[Event[Any, Any]]
    notes: Notes


def shown(kept: Kept[Any], **more: Any) -> dict[str, Any]:
    """One that something has happened to, in the shape that `states_query` gives."""
    assert kept.state is not None
    own = {"version": kept.version, "steps": list(kept.steps), "updated_at": kept.updated_at}
    state: dict[str, Any] = cast("Any", kept.state)
    return cast("dict[str, Any]", jsonable({**state, **own, **more}))


def states_query(table: str, more: str = "") -> str:
    """The states of all aggregates of a table, ordered by id, in the shape of rows that `row_of` makes."""
    return f"""
SELECT id::text AS id, state || jsonb_build_object(
    'version', version, 'steps', steps, {more}
    'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) AS state
FROM {table} WHERE version > 0 ORDER BY {table}.id
"""


class Aggregates(Generic[State, Event_contra]):
    """A service's table of aggregates, on a cursor. `schema` is an event type whose data is their state."""

    def __init__(
        self,
        cursor: Cursor,
        outbox: Outbox[Event_contra],
        table: str,
        schema: str,
        evolve: Callable[[Any], State] = lambda event: event.data,
    ) -> None:
        self._cursor = cursor
        self._outbox = outbox
        self._table = table
        self._schema = schema
        self._evolve = evolve

    def lock(self, ids: Collection[str]) -> dict[str, Kept[State]]:
        """Those that exist, which nobody else changes before the transaction ends."""
        self._cursor.execute(
            f"SELECT id::text, version, state::text, notes::text, steps::text, updated_at FROM {self._table}"
            " WHERE id = ANY(%s::text[]::uuid[]) ORDER BY id FOR UPDATE",
            (list(ids),),
        )
        return {row[0]: self._kept(*row) for row in self._cursor.fetchall()}

    def lock_or_add(self, ids: Collection[str]) -> dict[str, Kept[State]]:
        """As `lock`, with one of version 0 for each id that there was none of."""
        found = self.lock(ids)
        missing = [each for each in ids if each not in found]
        if missing:
            self._cursor.execute(
                f"INSERT INTO {self._table} (id, version, state, notes, steps, updated_at)"
                " SELECT id::uuid, 0, '{}', '{}', '[]', now() FROM unnest(%s::text[]) AS new (id) ORDER BY id"
                " ON CONFLICT (id) DO NOTHING RETURNING id::text, updated_at",
                (missing,),
            )
            found |= {id_: Kept(id_, 0, None, {}, [], at) for id_, at in self._cursor.fetchall()}
            if taken := [each for each in missing if each not in found]:
                found |= self.lock(taken)  # somebody else has added them meanwhile
        return found

    def save(self, changes: Collection[Changed[State]], answer: Answer | None = None) -> None:
        """Writes what has become of locked ones, and publishes their events, with the answer of the command, if there is one."""
        if not changes:
            return
        rows = [self._row(each) for each in changes]
        self._cursor.execute(
            f"UPDATE {self._table} AS kept SET version = new.version, state = coalesce(new.state, kept.state),"
            " notes = new.notes, steps = coalesce(new.steps, kept.steps),"
            " updated_at = coalesce(new.updated_at, kept.updated_at)"
            " FROM unnest(%s::text[]::uuid[], %s::bigint[], %s::text[]::jsonb[], %s::text[]::jsonb[], %s::text[]::jsonb[],"
            " %s::timestamptz[]) AS new (id, version, state, notes, steps, updated_at) WHERE kept.id = new.id",
            [list(column) for column in zip(*rows, strict=True)],
        )
        events: list[Any] = [event for each in changes for event in each.events]
        self._outbox.publish(self._cursor, events, answer)

    def _kept(self, id_: str, version: int, state: str, notes: str, steps: str, updated_at: datetime) -> Kept[State]:
        found = typed(self._schema, orjson.loads(state)) if version else None
        return Kept(id_, version, found, orjson.loads(notes), orjson.loads(steps), updated_at)

    def _row(self, changed: Changed[State]) -> tuple[Any, ...]:
        before, events, notes = changed
        if not events:
            return before.id, before.version, None, dumps(notes), None, None
        last = events[-1]
        state, steps = dumps(self._evolve(last)), dumps(steps_after(before.steps, events))
        return before.id, last.version, state, dumps(notes), steps, last.occurred_at


def dumps(value: Any) -> str:
    """JSON as PostgreSQL takes it, times as they are written everywhere."""
    return orjson.dumps(jsonable(value)).decode()


def newest(events: Iterable[Event[Any, Any]]) -> dict[str, Event[Any, Any]]:
    """The last event of each aggregate: it says all."""
    return {event.key: event for event in events}


def heard(notes: Notes, who: str, event: Event[Any, Any], **facts: Any) -> Notes:
    """The notes with what an event of somebody else says; the same notes when they have that, or something newer of his."""
    versions = notes.get("heard", {})
    if event.version <= versions.get(who, 0) or all(notes.get(name, _NOTHING) == fact for name, fact in facts.items()):
        return notes
    return {**notes, **facts, "heard": {**versions, who: event.version}}
