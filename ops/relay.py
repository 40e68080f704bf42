"""The relay of every database: its connector and its replication slot, how they are, and how they are mended.

Nothing that an outbox still holds is skipped: whenever the slot and the connector's offsets do not meet, both are
forgotten, and the connector begins with a snapshot of the outboxes. Readers skip what they have.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

from psycopg2.errors import ObjectInUse
from psycopg2.extensions import cursor as Cursor
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_fixed,
    wait_random_exponential,
)

from connectors.relay import (
    MISSING,
    ROLE,
    Database,
    RelayDown,
    Status,
    captured_lsn,
    connector_status,
    forget_offsets,
    register,
    restart,
    resume,
    stop,
)
from kernel import settings
from kernel.pauses import backoff_s
from ops.databases import admin, admin_url, databases
from ops.trouble import Trouble

log = logging.getLogger(__name__)

_PATIENCE_S = 120.0
#: A connector that has just been registered makes its slot, and one that has just been started is in PostgreSQL, within this.
_GRACE_S = 15.0
#: Pauses between two starts of what fails again and again.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2, 300
#: Every heartbeat moves the slot, each second: one that has not moved for so long stands still.
_STILL_AFTER = timedelta(seconds=30)
#: Parts of max_slot_wal_keep_size that a slot may hold back before it is a trouble.
_TOO_MUCH = 0.25

_SLOT = """
SELECT active, wal_status, confirmed_flush_lsn - '0/0'::pg_lsn,
    pg_current_wal_lsn() - restart_lsn, pg_current_wal_lsn() - confirmed_flush_lsn, safe_wal_size
FROM pg_replication_slots WHERE slot_name = %s
"""
#: A connector's task has one session at least, from its snapshot on.
_HAS_SESSIONS = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = %s AND datname = current_database())"
_DROP_SLOT = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s"
_MOVED = """
INSERT INTO ops.relay (connector, confirmed_lsn, moved_at) VALUES (%s, %s, %s)
ON CONFLICT (connector) DO UPDATE
SET confirmed_lsn = excluded.confirmed_lsn, moved_at = excluded.moved_at, failure = NULL
WHERE relay.confirmed_lsn IS DISTINCT FROM excluded.confirmed_lsn
"""
_FAILED = "UPDATE ops.relay SET failure = %s WHERE connector = %s"
_NOTED = "SELECT moved_at, failure FROM ops.relay WHERE connector = %s AND confirmed_lsn IS NOT DISTINCT FROM %s"
#: A connector's state while Connect does not answer.
UNKNOWN = "UNKNOWN"
_BOUND = "SELECT setting::bigint * 1024 * 1024 FROM pg_settings WHERE name = 'max_slot_wal_keep_size'"


class Slot(NamedTuple):
    """A replication slot, as PostgreSQL has it; sizes are bytes of WAL.

    `lag_bytes` is what the relay has not confirmed, `retained_bytes` what PostgreSQL keeps for it; `safe_bytes` may
    still be written before the slot is lost, None when there is no bound, or it is lost.
    """

    active: bool
    wal_status: str
    confirmed_lsn: int | None
    retained_bytes: int | None
    lag_bytes: int | None
    safe_bytes: int | None

    @property
    def is_lost(self) -> bool:
        """Whether PostgreSQL has thrown away what the slot stood for."""
        return self.wal_status == "lost"


@dataclass(frozen=True)
class Relay:
    """One connector and its slot; `bound_bytes` is PostgreSQL's max_slot_wal_keep_size, negative for none.

    `state` is UNKNOWN when Connect does not answer; PostgreSQL still tells of the slot. `moved_at` is when housekeeping
    first saw the slot where it is now, and `failure` why the task has failed there; None when the slot has moved since.
    """

    connector: str
    state: str
    why: str
    slot: Slot | None
    bound_bytes: int
    moved_at: datetime | None
    failure: str | None

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        moved_at = self.moved_at.isoformat() if self.moved_at else None
        return {**asdict(self), "slot": self.slot._asdict() if self.slot else None, "moved_at": moved_at}


def register_connectors() -> None:
    """Every database's connector runs, and its slot is in use. Raises RelayDown otherwise."""
    for database in databases():
        with admin(admin_url(database)) as cursor:
            slot = slot_of(cursor, database)
            if slot and slot.is_lost:
                begin_anew(cursor, database)
            register(settings.connect_url(), database)
            _patiently(partial(_check_slot_is_used, cursor, database))


def relays() -> list[Relay]:
    """Every relay as it is now. Raises psycopg2.Error when PostgreSQL does not answer."""
    return [_relay(database) for database in databases()]


def look() -> list[Trouble]:
    """What of the relays stands still, or will when its slot's bound is reached."""
    found = []
    now = datetime.now(UTC)
    for relay in relays():
        what = f"the relay {relay.connector}"
        if why := _stands_still(relay):
            found.append(Trouble(what, why, relay.moved_at))
        elif relay.moved_at and now - relay.moved_at > _STILL_AFTER:
            found.append(Trouble(what, "its task runs, but its slot does not move", relay.moved_at))
        elif why := _needs_attention(relay):
            found.append(Trouble(what, why, still=False))
    return found


class Mender:
    """Gets every relay to run again, whatever has become of its connector, its task, its offsets or its slot."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._missing_since: dict[Database, float] = {}
        self._gone_since: dict[Database, float] = {}
        self._starts: dict[Database, tuple[int, float]] = {}

    def mend(self) -> None:
        """One look at every relay, and what it needs. Raises RelayDown when Connect does not do it."""
        for database in databases():
            with admin(admin_url(database)) as cursor:
                self._mend(cursor, database)

    def _mend(self, cursor: Cursor, database: Database) -> None:
        url = settings.connect_url()
        slot = slot_of(cursor, database)
        self._note(slot, database)
        status = connector_status(url, database)
        if status.state == MISSING:
            log.warning("%s is not registered: registered again", database.connector)
            register(url, database)
        elif why := self._broken(slot, status, database):
            log.warning("%s begins anew, with a snapshot: %s", database.connector, why)
            begin_anew(cursor, database)
        elif status.state == "STOPPED":
            log.warning("%s was stopped: resumed", database.connector)
            resume(url, database)
        elif status.state == "FAILED":
            self._start_again(database, status)
        elif self._is_gone(cursor, slot, status, database):
            log.warning("%s is RUNNING by what Connect says, but its task has ended: started again", database.connector)
            self._gone_since.pop(database)  # it gets as long to come back
            restart(url, database, only_failed=False)

    def _note(self, slot: Slot | None, database: Database) -> None:
        """Notes how far the slot is, and since when. What has failed is over when it moves, not when a task starts."""
        place = slot.confirmed_lsn if slot else None
        with admin(settings.admin_database_url()) as cursor:
            cursor.execute(_MOVED, (database.connector, place, datetime.now(UTC)))
            if cursor.rowcount:
                self._starts.pop(database, None)

    def _broken(self, slot: Slot | None, status: Status, database: Database) -> str | None:
        """Why slot and offsets do not meet, if they do not."""
        if slot is None:
            since = self._missing_since.setdefault(database, self._clock())
            is_new = status.state == "RUNNING" and self._clock() - since < _GRACE_S
            return None if is_new else f"the slot {database.slot} is missing"
        self._missing_since.pop(database, None)
        if slot.is_lost:
            return f"the slot {database.slot} is lost: it held back more than max_slot_wal_keep_size"
        if status.state in ("FAILED", "STOPPED") and not slot.active:
            captured = captured_lsn(settings.connect_url(), database)
            if captured is not None and captured < (slot.confirmed_lsn or 0):
                return f"the slot {database.slot} is ahead of what is in Kafka: it was made anew, or offsets are lost"
        return None

    def _is_gone(self, cursor: Cursor, slot: Slot | None, status: Status, database: Database) -> bool:
        """Whether nobody is there, for a while now, whatever Connect says: it may take a task that it gave up for the one after it."""
        if status.state != "RUNNING" or (slot and slot.active) or has_sessions(cursor):
            self._gone_since.pop(database, None)
            return False
        return self._clock() - self._gone_since.setdefault(database, self._clock()) > _GRACE_S

    def _start_again(self, database: Database, status: Status) -> None:
        """The longer it fails, the longer the pauses, within which chance decides."""
        with admin(settings.admin_database_url()) as cursor:
            cursor.execute(_FAILED, (status.why, database.connector))
        failures, not_before = self._starts.get(database, (0, 0.0))
        if self._clock() < not_before:
            return
        pause_s = backoff_s(failures + 1, _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._starts[database] = (failures + 1, self._clock() + pause_s)
        log.warning("%s has failed %d times: started again: %s", database.connector, failures + 1, status.why)
        restart(settings.connect_url(), database)


def begin_anew(cursor: Cursor, database: Database) -> None:
    """Forgets slot and offsets; the connector makes both anew with a snapshot. May be repeated at any point.

    Connect gives up a task that does not end in five seconds, as one that waits for a slot that is lost. When there is none
    any more it goes on, makes one, and ends; if another task was there by then, that one would fail.
    """
    url = settings.connect_url()
    stop(url, database)
    _patiently(lambda: forget_offsets(url, database))
    _patiently(lambda: cursor.execute(_DROP_SLOT, (database.slot,)))
    _patiently(lambda: _check_nobody_is_left(cursor, database))
    resume(url, database)


def slot_of(cursor: Cursor, database: Database) -> Slot | None:
    """The database's slot; None when there is none."""
    cursor.execute(_SLOT, (database.slot,))
    found = cursor.fetchone()
    if not found:
        return None
    active, wal_status, *sizes = found
    return Slot(active, wal_status, *(None if size is None else int(size) for size in sizes))


def _relay(database: Database) -> Relay:
    status = _status(database)
    with admin(admin_url(database)) as cursor:
        slot = slot_of(cursor, database)
        cursor.execute(_BOUND)
        [bound] = cursor.fetchone() or (-1,)
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute(_NOTED, (database.connector, slot.confirmed_lsn if slot else None))
        moved_at, failure = cursor.fetchone() or (None, None)
    return Relay(database.connector, *status, slot, int(bound), moved_at, failure)


def _status(database: Database) -> Status:
    try:
        return connector_status(settings.connect_url(), database)
    except RelayDown as error:
        return Status(UNKNOWN, str(error))


def _stands_still(relay: Relay) -> str | None:
    if relay.state == "FAILED" or relay.failure:
        return f"its task has FAILED: {relay.failure or relay.why}"
    if relay.state not in ("RUNNING", UNKNOWN):
        return f"it is {relay.state}"
    if relay.slot is None:
        return "it has no replication slot"
    if relay.slot.is_lost:
        return "its replication slot is lost"
    if relay.slot.active:
        return None
    return f"nobody reads its replication slot. {relay.why}".rstrip(". ")


def _needs_attention(relay: Relay) -> str | None:
    slot = relay.slot
    if relay.state == UNKNOWN:
        return relay.why
    if relay.bound_bytes < 0:
        return "PostgreSQL has no max_slot_wal_keep_size: if it stood still, the disk would fill"
    if slot and (slot.retained_bytes or 0) > relay.bound_bytes * _TOO_MUCH:
        return f"its slot holds back {slot.retained_bytes:,} bytes of WAL, and is lost at {relay.bound_bytes:,}"
    return None


def _check_slot_is_used(cursor: Cursor, database: Database) -> None:
    """A connector that says RUNNING may still be at its snapshot; its slot is in use when it follows the log."""
    slot = slot_of(cursor, database)
    if not (slot and slot.active):
        raise RelayDown(f"nobody reads the replication slot {database.slot}: see Kafka Connect's log")


def _check_nobody_is_left(cursor: Cursor, database: Database) -> None:
    if has_sessions(cursor):
        raise RelayDown(f"a task of {database.connector} has not ended yet: see Kafka Connect's log")


def has_sessions(cursor: Cursor) -> bool:
    """Whether a task of the connector is in this database."""
    cursor.execute(_HAS_SESSIONS, (ROLE,))
    [found] = cursor.fetchone() or (False,)
    return bool(found)


def _patiently(work: Callable[[], None]) -> None:
    """Until a task that was stopped has ended, or one that was started has begun. Raises RelayDown or ObjectInUse."""
    Retrying(
        stop=stop_after_delay(_PATIENCE_S),
        wait=wait_fixed(0.1) + wait_random_exponential(multiplier=0.1, max=1),
        retry=retry_if_exception_type((RelayDown, ObjectInUse)),
        reraise=True,
    )(work)
