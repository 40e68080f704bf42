"""Deadlines: moments at which a command of an aggregate falls due, kept by the transactions that ask for them.

A deadline's row is locked before its aggregate, by everyone: whoever clears or moves one does so before taking the
aggregate's lock. Else the command that has just fallen due, and waits for the aggregate, would be waited for.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg2.extensions import cursor as Cursor

from kernel.context import Context
from kernel.pauses import backoff_s

#: The pause before a command that failed is tried again, and the longest after many failures.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0

#: Sets or moves a deadline; its parameters are a Due. The condition is for whoever does it within another statement.
SET_IF = """
INSERT INTO deadline (aggregate_id, name, due_at, try_at)
SELECT aggregate_id, name, due_at, due_at FROM (SELECT %s::text, %s::text, %s::timestamptz) AS due (aggregate_id, name, due_at)
WHERE {condition}
ON CONFLICT (aggregate_id, name) DO UPDATE
SET due_at = excluded.due_at, try_at = excluded.try_at, attempts = 0, error = NULL
"""
_SET = SET_IF.format(condition="true")

# In key order, so that two who clear the same ones do not wait for each other.
_CLEAR = """
DELETE FROM deadline WHERE name = %s AND aggregate_id IN (
    SELECT aggregate_id FROM deadline WHERE name = %s AND aggregate_id = ANY(%s) ORDER BY aggregate_id FOR UPDATE
)
"""
_NEXT = "SELECT min(try_at) FROM deadline WHERE name = ANY(%s)"
# Of one aggregate the earliest only: the next one is there to be taken once that has become a command.
_CLAIM = """
SELECT aggregate_id, name, due_at, attempts FROM deadline
WHERE try_at <= %s AND name = ANY(%s) AND NOT EXISTS (
    SELECT FROM deadline AS earlier WHERE earlier.aggregate_id = deadline.aggregate_id
        AND (earlier.due_at, earlier.name) < (deadline.due_at, deadline.name)
)
ORDER BY try_at LIMIT %s FOR UPDATE SKIP LOCKED
"""
# Unless it has been moved meanwhile.
_PUT_OFF = """
UPDATE deadline SET try_at = %s, attempts = %s, error = %s WHERE aggregate_id = %s AND name = %s AND due_at = %s
"""


@dataclass(frozen=True)
class Deadline:
    """What falls due under a name: declared in the manifest of the service.

    `handle(cursor, aggregate_ids, context)` runs in the transaction that has deleted the deadlines. It locks the aggregates
    and decides what becomes of each now; of one that is past waiting, nothing. A name that is given up needs a migration
    that deletes its rows: they hold up later deadlines of their aggregates.
    """

    name: str
    handle: Callable[[Cursor, Sequence[str], Context], None]


class Due(NamedTuple):
    """One aggregate's deadline: `due_at` is UTC."""

    aggregate_id: str
    name: str
    due_at: datetime


class Claimed(NamedTuple):
    """A deadline that nobody else has before the transaction ends; its command has failed `attempts` times."""

    aggregate_id: str
    name: str
    due_at: datetime
    attempts: int


def set_deadline(cursor: Cursor, due: Due) -> None:
    """Sets an aggregate's deadline of this name, or moves it."""
    cursor.execute(_SET, due)


def clear(cursor: Cursor, name: str, aggregate_ids: Collection[str]) -> None:
    """These aggregates' deadlines of this name matter no longer."""
    cursor.execute(_CLEAR, (name, name, list(aggregate_ids)))


def next_at(cursor: Cursor, names: Collection[str]) -> datetime | None:
    """When the next deadline of these names is to be tried; None when there is none."""
    cursor.execute(_NEXT, (list(names),))
    row: tuple[datetime | None] = cursor.fetchone()
    return row[0]


def claim(cursor: Cursor, names: Collection[str], now: datetime, limit: int) -> list[Claimed]:
    """At most so many that are to be tried now and that nobody else has: of each aggregate the earliest."""
    cursor.execute(_CLAIM, (now, list(names), limit))
    return [Claimed(*row) for row in cursor.fetchall()]


def put_off(cursor: Cursor, claimed: Claimed, error: str, now: datetime) -> None:
    """Its command has failed: it is tried again after a pause, which grows with each failure."""
    failures = claimed.attempts + 1
    pause = timedelta(seconds=backoff_s(failures, FIRST_PAUSE_S, LONGEST_PAUSE_S))
    cursor.execute(_PUT_OFF, (now + pause, failures, error, *claimed[:3]))


def carry_out(
    cursor: Cursor, handlers: Mapping[str, Deadline], claimed: Collection[Claimed], context: Context
) -> None:
    """Claimed deadlines become commands, and are gone. Raises what a handler raises; then the caller rolls back."""
    ids: dict[str, list[str]] = {}
    for each in claimed:
        ids.setdefault(each.name, []).append(each.aggregate_id)
    for name, mine in sorted(ids.items()):
        clear(cursor, name, mine)  # first: the command may set the next one
        handlers[name].handle(cursor, sorted(mine), context)
