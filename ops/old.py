"""What services keep for a while only, deleted when it is old: the answers of commands, tasks that are done, and what others told."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from psycopg2.extensions import cursor as Cursor
from psycopg2.sql import SQL, Identifier

from kernel import settings
from ops.databases import admin, admin_url, databases

#: Deleted at once: few, so that nobody waits for what a long transaction holds.
_SLICE = 5_000
_FORGET = SQL("""
DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {moment} < %s ORDER BY {moment} LIMIT %s))
""")


class _Kept(NamedTuple):
    """A table of every service, and for how many hours from the moment in a column on a row stays."""

    table: str
    moment: str
    hours: Callable[[], float]


#: A task that is not done has no such moment.
_KEPT = (
    _Kept("answer", "answered_at", settings.answer_hours),
    _Kept("task", "done_at", settings.task_hours),
    _Kept("webhook", "received_at", settings.webhook_hours),
)


def forget_old(now: datetime | None = None) -> None:
    """Deletes what is older than its setting, in every service's schema."""
    for database in databases():
        with admin(admin_url(database)) as cursor:
            for service in database.services:
                for each in _KEPT:
                    before = (now or datetime.now(UTC)) - timedelta(hours=each.hours())
                    _forget(cursor, service, each, before)


def _forget(cursor: Cursor, service: str, kept: _Kept, before: datetime) -> None:
    statement = _FORGET.format(table=Identifier(service, kept.table), moment=Identifier(kept.moment))
    while True:
        cursor.execute(statement, (before, _SLICE))
        if cursor.rowcount < _SLICE:
            return
