"""The outboxes' partitions, one a day."""

from datetime import datetime, timedelta

from psycopg2.extensions import cursor as Cursor
from psycopg2.sql import SQL, Identifier, Literal

#: Days for which the outboxes have partitions ahead.
DAYS_AHEAD = 7


def make_partitions(cursor: Cursor, service: str, now: datetime) -> None:
    """A partition for each of the next days, from now's on, unless the default partition has rows of that day."""
    for ahead in range(DAYS_AHEAD + 1):
        day = (now + timedelta(days=ahead)).replace(hour=0, minute=0, second=0, microsecond=0)
        span = {"first": Literal(day), "next": Literal(day + timedelta(days=1))}
        default = Identifier(service, "outbox_default")
        strays = SQL("SELECT FROM {default} WHERE occurred_at >= {first} AND occurred_at < {next} LIMIT 1")
        cursor.execute(strays.format(default=default, **span))
        if cursor.fetchone() is not None:
            continue
        create = SQL(
            "CREATE TABLE IF NOT EXISTS {part} PARTITION OF {outbox} FOR VALUES FROM ({first}) TO ({next})"
        )
        part = Identifier(service, f"outbox_{day:%Y%m%d}")
        cursor.execute(create.format(part=part, outbox=Identifier(service, "outbox"), **span))
