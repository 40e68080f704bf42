"""What people have done by hand, in the transaction in which it was done: who, what, to which aggregate, and why."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from psycopg2.extensions import cursor as Cursor

_NOTE = """
INSERT INTO audit (at, who, command, aggregate_id, reason, data) VALUES (%s, %s, %s, %s, %s, %s::jsonb)
"""
_NOTES = "SELECT at, who, command, aggregate_id, reason, data FROM audit WHERE aggregate_id = %s ORDER BY id"


class Note(NamedTuple):
    """One command of a person: `at` is UTC, `data` what else has to be known later, in JSON, without personal data."""

    at: datetime
    who: str
    command: str
    aggregate_id: str
    reason: str
    data: Mapping[str, Any]


def note(cursor: Cursor, entry: Note) -> None:
    """Notes it with whatever else the caller's transaction does. It can't be changed, and not be deleted."""
    cursor.execute(_NOTE, (*entry[:-1], json.dumps(entry.data)))


def notes(cursor: Cursor, aggregate_id: str) -> list[Note]:
    """All that was done to an aggregate by hand, the oldest first."""
    cursor.execute(_NOTES, (aggregate_id,))
    return [Note(*row) for row in cursor.fetchall()]
