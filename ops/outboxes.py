"""The outboxes' partitions: one a day (UTC), made well ahead, dropped when all of it is in Kafka and it is old."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta

from psycopg2.errors import LockNotAvailable
from psycopg2.extensions import cursor as Cursor
from psycopg2.sql import SQL, Composed, Identifier, Literal
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_fixed,
    wait_random,
)

from connectors.relay import Database
from kernel import settings
from ops.databases import admin, admin_url, databases
from ops.trouble import Trouble

#: A command whose day has no partition is refused. So partitions are made for so long that a housekeeper who is away,
#: or can't, is noticed long before: fewer than ENOUGH_DAYS are a trouble.
DAYS_AHEAD = 30
ENOUGH_DAYS = 14
#: What waits for a lock holds up whoever comes after it: that must not be noticed.
LOCK_TIMEOUT = "200ms"
_TRIES = 5
_CAPTURE_TIMEOUT_S = 30.0

_PARTITIONS = """
SELECT child.relname
FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = %s::regclass ORDER BY 1
"""
# As the connector's heartbeats: there is something to confirm, also when nobody writes.
_MARK = "SELECT pg_logical_emit_message(true, 'heartbeat', '')"
_NOW = "SELECT pg_current_wal_insert_lsn()::text"
_READER = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s"
_PASSED = "SELECT confirmed_flush_lsn >= %s::pg_lsn AND active_pid = %s FROM pg_replication_slots WHERE slot_name = %s"


class NotCaptured(Exception):
    """The relay has not passed what is to be dropped: it stands still, or was started anew meanwhile."""


class InUse(Exception):
    """A partition could not be locked for as long as it may be waited for."""


def keep_partitions(now: datetime | None = None) -> None:
    """Every outbox has the partitions that it needs, and no old ones. Raises NotCaptured or InUse for the rest."""
    moment = now or datetime.now(UTC)
    for database in databases():
        with admin(admin_url(database), lock_timeout=LOCK_TIMEOUT) as cursor:
            for service in database.services:
                make_partitions(cursor, service, moment)
            drop_partitions(cursor, database, moment - timedelta(days=settings.outbox_days()))


def make_partitions(cursor: Cursor, service: str, now: datetime) -> None:
    """A partition for each day from yesterday, for clocks that are late, to DAYS_AHEAD days after today."""
    there = set(partitions(cursor, service))
    for ahead in range(-1, DAYS_AHEAD + 1):
        day = now.date() + timedelta(days=ahead)
        if day not in there:
            _patiently(cursor, _make(service, day))


def drop_partitions(cursor: Cursor, database: Database, before: datetime) -> None:
    """Drops the partitions of days that were over at a moment, once all that is in them is in Kafka.

    Raises NotCaptured; or InUse when one could not be locked, after the others.
    """
    old = [
        (service, day)
        for service in database.services
        for day in partitions(cursor, service)
        if day < before.date()
    ]
    if not old:
        return
    in_use: list[InUse] = []
    closed = [part for part in old if _done(cursor, _close(*part), in_use)]
    await_captured(cursor, database)
    for part in closed:
        _done(cursor, SQL("DROP TABLE {}").format(_name(*part)), in_use)
    if in_use:
        raise in_use[0]


def partitions(cursor: Cursor, service: str) -> Iterator[date]:
    """The days that have a partition."""
    cursor.execute(_PARTITIONS, (f"{service}.outbox",))
    for (name,) in cursor.fetchall():
        if found := re.fullmatch(r"outbox_(\d{4})(\d\d)(\d\d)", name):
            yield date(*map(int, found.groups()))


def await_captured(cursor: Cursor, database: Database, timeout_s: float = _CAPTURE_TIMEOUT_S) -> None:
    """Returns when all that has been committed is in Kafka. Raises NotCaptured.

    A slot that is made anew begins behind what a snapshot has yet to bring: so it does not count unless whoever reads
    it now goes on to read it until it has confirmed what is written now.
    """
    cursor.execute(_READER, (database.slot,))
    [reader] = cursor.fetchone() or (None,)
    if reader is None:
        raise NotCaptured(f"nobody reads the replication slot {database.slot}")
    cursor.execute(_MARK)
    cursor.execute(_NOW)
    [written] = cursor.fetchone() or (None,)
    patience = Retrying(
        stop=stop_after_delay(timeout_s),
        wait=wait_fixed(0.1),
        retry=retry_if_exception_type(NotCaptured),
        reraise=True,
    )
    for attempt in patience:
        with attempt:
            cursor.execute(_PASSED, (written, reader, database.slot))
            if cursor.fetchone() != (True,):
                raise NotCaptured(f"{database.slot} has not confirmed {written}, and nothing is dropped before")


def look() -> list[Trouble]:
    """The outboxes that soon have no partition for a day."""
    found = []
    today = datetime.now(UTC).date()
    for database in databases():
        with admin(admin_url(database)) as cursor:
            for service in database.services:
                ahead = days_ahead(partitions(cursor, service), today)
                if ahead < ENOUGH_DAYS:
                    why = f"it has partitions for {ahead} more days; then its commands are refused. `ops keep` makes them"
                    found.append(Trouble(f"the outbox of {service}", why, still=ahead < 0))
    return found


def days_ahead(days: Iterable[date], today: date) -> int:
    """For how many days after today, without a gap, there are partitions; -1 when there is none for today."""
    there = set(days)
    return next(ahead for ahead in range(len(there) + 1) if today + timedelta(days=ahead) not in there) - 1


def _make(service: str, day: date) -> Composed:
    """Made aside, then attached, which needs no lock that a writer would wait for."""
    names = {
        "part": _name(service, day),
        "outbox": Identifier(service, "outbox"),
        "first": Literal(datetime(day.year, day.month, day.day, tzinfo=UTC)),
        "next": Literal(datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)),
    }
    return SQL(
        "CREATE TABLE {part} (LIKE {outbox} INCLUDING ALL);"
        " ALTER TABLE {outbox} ATTACH PARTITION {part} FOR VALUES FROM ({first}) TO ({next})"
    ).format(**names)


def _close(service: str, day: date) -> Composed:
    """Nothing more can be inserted for the day, not even by a clock that is a week late, so that all of it is known."""
    return SQL(
        "ALTER TABLE {part} DROP CONSTRAINT IF EXISTS closed;"
        " ALTER TABLE {part} ADD CONSTRAINT closed CHECK (false) NOT VALID"
    ).format(part=_name(service, day))


def _name(service: str, day: date) -> Identifier:
    return Identifier(service, f"outbox_{day:%Y%m%d}")


def _done(cursor: Cursor, statement: Composed, in_use: list[InUse]) -> bool:
    try:
        _patiently(cursor, statement)
    except InUse as error:
        in_use.append(error)
        return False
    return True


def _patiently(cursor: Cursor, statement: Composed) -> None:
    """One transaction, tried again when a lock is not to be had in time. Raises InUse when it never was."""
    patience = Retrying(
        stop=stop_after_attempt(_TRIES),
        wait=wait_random(0.2, 1),
        retry=retry_if_exception_type(LockNotAvailable),
        reraise=True,
    )
    try:
        patience(cursor.execute, statement)
    except LockNotAvailable as error:
        [reason, *_] = str(error).splitlines()
        raise InUse(f"{reason}: somebody holds a lock for long. Tried again later") from error
