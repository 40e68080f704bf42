"""The answers of commands, which services keep so that a repeat gets the first one: deleted when they are old."""

from datetime import UTC, datetime, timedelta

from psycopg2.extensions import cursor as Cursor
from psycopg2.sql import SQL, Identifier

from kernel import settings
from ops.databases import admin, admin_url, databases

#: Deleted at once: few, so that nobody waits for what a long transaction holds.
_SLICE = 5_000
_FORGET = """
DELETE FROM {answers} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {answers} WHERE answered_at < %s ORDER BY answered_at LIMIT %s))
"""


def forget_old(now: datetime | None = None) -> None:
    """Deletes what is older than its setting, in every service's schema."""
    before = (now or datetime.now(UTC)) - timedelta(hours=settings.answer_hours())
    for database in databases():
        with admin(admin_url(database)) as cursor:
            for service in database.services:
                _forget(cursor, service, before)


def _forget(cursor: Cursor, service: str, before: datetime) -> None:
    statement = SQL(_FORGET).format(answers=Identifier(service, "answer"))
    while True:
        cursor.execute(statement, (before, _SLICE))
        if cursor.rowcount < _SLICE:
            return
