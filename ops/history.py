"""What verify found last, kept for those who watch."""

from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from psycopg2.extras import execute_values

from kernel import settings
from ops.databases import admin

_NOTE = """
INSERT INTO ops.verified (consumer, differences, looked_at) VALUES %s
ON CONFLICT (consumer) DO UPDATE SET differences = excluded.differences, looked_at = excluded.looked_at
"""


class Found(Protocol):
    """What verify found, by consumer: see ops/verify.py."""

    checked: dict[str, int]
    differing: dict[str, int]


class Look(NamedTuple):
    """How many rows of a consumer differed, and when."""

    consumer: str
    differences: int
    looked_at: datetime


def note(found: Found) -> None:
    """Keeps what was found now. Raises psycopg2.Error."""
    now = datetime.now(UTC)
    rows = [(name, found.differing.get(name, 0), now) for name in found.checked]
    with admin(settings.admin_database_url()) as cursor:
        execute_values(cursor, _NOTE, rows)


def last() -> list[Look]:
    """By consumer that was ever looked at, the last look. Raises psycopg2.Error."""
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute("SELECT consumer, differences, looked_at FROM ops.verified")
        return [Look(*row) for row in cursor.fetchall()]
