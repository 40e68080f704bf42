"""Tasks: calls to somebody outside, asked for by the transaction that wants them and made after it, outside any other.

Whoever takes a task has it for as long as its lease; then somebody else may. So a call may be made twice: it carries the
task's id, by which the one who is called knows it again. Its answer is recorded by that id too, once, whoever had
the task meanwhile and however late the answer comes.

Locks: a task's row first, then the aggregate that it is for; of several tasks in order of their ids. So whoever brings an
answer (a webhook, too) calls `done` before he locks the aggregate. Only `ask` comes after that lock: an aggregate alone asks
for its tasks, so nobody else can be about to ask for the same one, and it waits for nobody.

A task that is done is deleted after MAREA_TASK_HOURS. Asked for again under its id after that, the call would be made
again: ids are of numbered operations, and no number is used twice.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from psycopg2.extensions import cursor as Cursor

from kernel.context import Context
from kernel.pauses import backoff_s

#: How often a task is tried; then it is given up, which `status` shows.
MOST_ATTEMPTS = 8
#: The pause after a first failure, and the longest.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 300.0

_ASK = """
INSERT INTO task (id, kind, arguments, traceparent, asked_at, try_at)
SELECT id, kind, arguments::jsonb, traceparent, asked_at, asked_at
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[]) AS wanted (id, kind, arguments, traceparent), (SELECT %s::timestamptz) AS now (asked_at)
ON CONFLICT (id) DO NOTHING
"""
# Of each kind as many as there is room for.
_CLAIM = """
WITH due AS (
    SELECT task.id, room.until
    FROM unnest(%s::text[], %s::integer[], %s::timestamptz[]) AS room (kind, number, until), LATERAL (
        SELECT id FROM task WHERE task.kind = room.kind AND state = 'waiting' AND try_at <= %s
        ORDER BY try_at LIMIT room.number FOR UPDATE SKIP LOCKED
    ) AS task
)
UPDATE task SET attempts = attempts + 1, try_at = due.until FROM due WHERE task.id = due.id
RETURNING task.id, kind, arguments, attempts, traceparent
"""
_DONE = """
WITH mine AS (SELECT id FROM task WHERE id = ANY(%s) AND state <> 'done' ORDER BY id FOR UPDATE)
UPDATE task SET state = 'done', done_at = %s, error = NULL FROM mine WHERE task.id = mine.id RETURNING task.id, traceparent
"""
# Only of the attempt that failed: somebody else may have the task by now.
_PUT_OFF = """
WITH failed AS (
    SELECT * FROM unnest(%s::text[], %s::integer[], %s::integer[], %s::text[], %s::timestamptz[], %s::text[])
        AS failed (id, attempts, counted, state, try_at, error)
), mine AS (
    SELECT task.id FROM task JOIN failed USING (id, attempts) WHERE task.state = 'waiting' ORDER BY task.id FOR UPDATE OF task
)
UPDATE task SET attempts = counted, state = failed.state, try_at = failed.try_at, error = failed.error
FROM failed JOIN mine USING (id) WHERE task.id = mine.id
RETURNING task.id
"""
_RETRY = """
UPDATE task SET state = 'waiting', attempts = 0, try_at = %s, error = NULL WHERE id = %s AND state = 'given up' RETURNING id
"""


class NoAnswer(Exception):
    """Nobody knows whether it was done: no answer, half an answer, or one that says nothing of it."""


class NotTried(NoAnswer):
    """The call was not made, because others before it got no answer: its breaker is open."""


class Task(NamedTuple):
    """A call to be made. `id` is its idempotency key; `attempts` counts this one, too, once it is claimed.

    `traceparent` is that of what asked for it; what follows from its answer has it, too.
    """

    id: str
    kind: str
    arguments: Mapping[str, Any]
    attempts: int = 0
    traceparent: str | None = None

    @property
    def is_spent(self) -> bool:
        """Whether every attempt is over, of the last one without a word: it is claimed to be given up, not to be made."""
        return self.attempts > MOST_ATTEMPTS


class Answered(NamedTuple):
    """A call, and what was answered: whatever the call gave."""

    task: Task
    answer: Any


class Unanswered(NamedTuple):
    """A call of which nobody knows what became. Unless it is given up, it is made again after a pause."""

    task: Task
    error: str
    is_given_up: bool


@dataclass(frozen=True)
class Call:
    """How tasks of a kind are carried out: declared in the manifest of the service.

    `open`, given a way to read settings, gives what makes the call: outside of any transaction, by several threads at once,
    within `lease_s` seconds. It raises NoAnswer when the outcome is not known; what else it raises is our own fault.
    `record` has the service take in several answers, each the first of its task, in the transaction that marks these
    done. `unanswered` tells it of several calls without an answer, in the transaction that puts them off or gives them up; no
    task is given up without that. Both lock the aggregates in order of their ids. `settings` and `secrets` are those that
    `open` reads, the latter never shown. At most `threads` of these calls are made at once.
    """

    kind: str
    open: Callable[[Callable[[str], str]], Callable[[Task], Any]]
    record: Callable[[Cursor, Sequence[Answered], Context], None]
    unanswered: Callable[[Cursor, Sequence[Unanswered], Context], None]
    settings: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    lease_s: float = 30.0
    threads: int = 8


def ask(cursor: Cursor, wanted: Collection[Task], now: datetime) -> None:
    """Asks for calls, once the caller's transaction commits. Asked for again under the same id a call stays one."""
    rows = [(task.id, task.kind, json.dumps(task.arguments), task.traceparent) for task in wanted]
    cursor.execute(_ASK, (*_columns(rows, 4), now))


def claim(cursor: Cursor, room: Mapping[str, tuple[int, float]], now: datetime) -> list[Task]:
    """Tasks that nobody has: of each kind at most so many, which nobody else gets for so many seconds.

    The caller commits before it makes the calls, and makes them within that time.
    """
    rows = [(kind, number, now + timedelta(seconds=lease_s)) for kind, (number, lease_s) in room.items()]
    cursor.execute(_CLAIM, (*_columns(rows, 3), now))
    return [Task(*row) for row in cursor.fetchall()]


def done(cursor: Cursor, task_ids: Collection[str], now: datetime) -> dict[str, str | None]:
    """Those whose answer is the first, with their `traceparent`: what it says is to be recorded in this transaction.

    Of the others it has been.
    """
    cursor.execute(_DONE, (list(task_ids), now))
    return dict(cursor.fetchall())


def put_off(cursor: Cursor, failed: Sequence[Unanswered], now: datetime) -> set[str]:
    """These calls are made again after pauses that grow with each failure, or are given up.

    Gives the ids of those that nobody has answered, or taken again, meanwhile.
    """
    return _put_off(
        cursor,
        [
            (task.id, task.attempts, task.attempts, "given up" if is_given_up else "waiting", now + _pause(task.attempts), error)
            for task, error, is_given_up in failed
        ],
    )


def postpone(cursor: Cursor, not_tried: Sequence[tuple[Task, str]], now: datetime) -> None:
    """These calls were not made, and why: they are made after a first pause, and the attempt does not count."""
    rows = [(task.id, task.attempts, task.attempts - 1, "waiting", now + _pause(1), error) for task, error in not_tried]
    _put_off(cursor, rows)


def retry(cursor: Cursor, task_id: str, now: datetime) -> bool:
    """Asks anew for a call that was given up. False when there is none of that id."""
    cursor.execute(_RETRY, (now, task_id))
    return cursor.fetchone() is not None


def _put_off(cursor: Cursor, rows: Sequence[tuple[Any, ...]]) -> set[str]:
    cursor.execute(_PUT_OFF, _columns(rows, 6))
    return {task_id for (task_id,) in cursor.fetchall()}


def _pause(failures: int) -> timedelta:
    return timedelta(seconds=backoff_s(failures, FIRST_PAUSE_S, LONGEST_PAUSE_S))


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [[row[column] for row in rows] for column in range(width)]
