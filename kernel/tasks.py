"""Tasks: calls to somebody outside, asked for by the transaction that wants them and made after it, outside any other.

Whoever takes a task has it for as long as its lease; then somebody else may. So a call may be made twice: it carries the
task's id, by which the one who is called knows it again. Its answer is recorded by that id too, once, whoever had
the task meanwhile and however late the answer comes.
"""

import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from psycopg2.extensions import cursor as Cursor

from kernel.pauses import backoff_s

#: How often a task is tried; then it is given up, which `status` shows.
MOST_ATTEMPTS = 8
#: The pause after a first failure, and the longest.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 300.0

_ASK = """
INSERT INTO task (id, kind, arguments, asked_at, try_at) VALUES (%s, %s, %s::jsonb, %s, %s) ON CONFLICT (id) DO NOTHING
"""
# A task whose last lease has run out without a word is given up here, as nobody else would.
_CLAIM = f"""
WITH due AS (
    SELECT id FROM task WHERE state = 'waiting' AND try_at <= %s AND kind = ANY(%s)
    ORDER BY try_at LIMIT %s FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE task SET attempts = least(attempts + 1, {MOST_ATTEMPTS}), try_at = %s,
        state = CASE WHEN attempts < {MOST_ATTEMPTS} THEN state ELSE 'given up' END
    FROM due WHERE task.id = due.id
    RETURNING task.id, kind, arguments, attempts, state
)
SELECT id, kind, arguments, attempts FROM taken WHERE state = 'waiting' ORDER BY id
"""
_DONE = "UPDATE task SET state = 'done' WHERE id = %s AND state <> 'done' RETURNING id"
# Only of the attempt that failed: somebody else may have the task by now.
_FAILED = f"""
UPDATE task SET error = %s, try_at = %s, state = CASE WHEN attempts < {MOST_ATTEMPTS} THEN state ELSE 'given up' END
WHERE id = %s AND attempts = %s AND state = 'waiting'
"""


class Task(NamedTuple):
    """A call to be made. `id` is its idempotency key; `attempts` counts this one, too."""

    id: str
    kind: str
    arguments: Mapping[str, Any]
    attempts: int


def ask(cursor: Cursor, task_id: str, kind: str, arguments: Mapping[str, Any], now: datetime) -> None:
    """Asks for a call, once the caller's transaction commits. Asked for again under the same id it stays one."""
    cursor.execute(_ASK, (task_id, kind, json.dumps(arguments), now, now))


def claim(cursor: Cursor, kinds: Collection[str], now: datetime, lease_s: float, limit: int) -> list[Task]:
    """At most so many tasks that nobody has; nobody else gets them for `lease_s`.

    The caller commits before it makes the calls, and makes them within that time.
    """
    cursor.execute(_CLAIM, (now, list(kinds), limit, now + timedelta(seconds=lease_s)))
    return [Task(*row) for row in cursor.fetchall()]


def done(cursor: Cursor, task_id: str) -> bool:
    """Whether an answer is the first: then the caller records what it says, in this transaction; else it has been."""
    cursor.execute(_DONE, (task_id,))
    return cursor.fetchone() is not None


def failed(cursor: Cursor, task: Task, error: str, now: datetime) -> None:
    """The call was not answered, or not for good: it is made again after a pause, or given up after MOST_ATTEMPTS."""
    pause = timedelta(seconds=backoff_s(task.attempts, FIRST_PAUSE_S, LONGEST_PAUSE_S))
    cursor.execute(_FAILED, (error, now + pause, task.id, task.attempts))
