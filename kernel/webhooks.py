"""What others have told a service, once each: kept with what it does there, in the same transaction."""

from datetime import datetime

from psycopg2.extensions import cursor as Cursor

_KEEP = """
INSERT INTO webhook (id, about, body, received_at) VALUES (%s, %s, %s, %s) ON CONFLICT (id) DO NOTHING RETURNING id
"""


def keep(cursor: Cursor, id_: str, about: str, body: bytes, now: datetime) -> bool:
    """False when it has been kept before; at the same time, the second waits for the first. `about` is what it names."""
    cursor.execute(_KEEP, (id_, about, body, now))
    return cursor.fetchone() is not None
