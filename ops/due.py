"""Deadlines and tasks, of every service: how many there are, in what state, and for how long they have been due."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg2.extensions import cursor as Cursor
from psycopg2.sql import SQL, Identifier

from ops.databases import admin, admin_url, databases
from ops.trouble import Trouble

#: Of each, the states in which it may be; a task that is done does not count.
DEADLINE_STATES = ("waiting", "due", "failing")
TASK_STATES = ("due", "at work or resting", "given up")
#: Commands and calls are late by less than a second while a worker runs: after this long, none does, or its code fails; or
#: more calls are asked for than can be made.
LATE = timedelta(seconds=30)

_DEADLINES = SQL("""
SELECT name, CASE WHEN attempts > 0 THEN 'failing' WHEN due_at <= %(now)s THEN 'due' ELSE 'waiting' END AS state,
    count(*), min(due_at), max(error)
FROM {table} GROUP BY 1, 2 ORDER BY 1, 2
""")
_TASKS = SQL("""
SELECT kind, CASE WHEN state <> 'waiting' THEN state WHEN try_at <= %(now)s THEN 'due' ELSE 'at work or resting' END AS state,
    count(*), min(CASE WHEN state = 'waiting' AND try_at <= %(now)s THEN try_at ELSE asked_at END), max(error)
FROM {table} WHERE state <> 'done' GROUP BY 1, 2 ORDER BY 1, 2
""")


@dataclass(frozen=True)
class Waiting:
    """A service's deadlines of one name, or tasks of one kind, in one state.

    `since` is the earliest moment at which one of them falls due, or, of tasks that are not due, at which one was asked for;
    `error` is one of theirs.
    """

    what: str
    service: str
    name: str
    state: str
    number: int
    since: datetime
    error: str | None

    def age_s(self, now: datetime) -> float:
        """Seconds since then; below 0 before it."""
        return (now - self.since).total_seconds()

    def as_json(self, now: datetime) -> dict[str, Any]:
        """For `status --json`."""
        return {**vars(self), "since": self.since.isoformat(), "age_s": round(self.age_s(now), 1)}


def waiting() -> list[Waiting]:
    """All of them. Raises psycopg2.Error."""
    found: list[Waiting] = []
    now = datetime.now(UTC)
    for database in databases():
        with admin(admin_url(database)) as cursor:
            for service in database.services:
                found += _of(cursor, "deadline", service, _DEADLINES, now)
                found += _of(cursor, "task", service, _TASKS, now)
    return found


def look() -> list[Trouble]:
    """Commands that are long overdue, and tasks that have been given up."""
    return troubles(waiting(), datetime.now(UTC))


def troubles(found: list[Waiting], now: datetime) -> list[Trouble]:
    """What of all this needs somebody."""
    return [trouble for each in found if (trouble := _trouble(each, now))]


def _trouble(each: Waiting, now: datetime) -> Trouble | None:
    said = f": {each.error}" if each.error else ""
    if each.what == "task" and each.state == "given up":
        name = f"the task {each.name} of {each.service}"
        return Trouble(name, f"{each.number:,} have been given up{said}", each.since, still=False)
    is_overdue = each.state == "due" or (each.what == "deadline" and each.state == "failing")
    if is_overdue and now - each.since > LATE:
        why = said or f": no worker has the reactions of that service, or none knows this {each.what}"
        return Trouble(f"the {each.what} {each.name} of {each.service}", f"{each.number:,} are overdue{why}", each.since)
    return None


def _of(cursor: Cursor, what: str, service: str, query: SQL, now: datetime) -> list[Waiting]:
    cursor.execute(query.format(table=Identifier(service, what)), {"now": now})
    return [Waiting(what, service, *row) for row in cursor.fetchall()]
