"""Reactions in the PostgreSQL of the service that reacts: its changes, its outbox and the position, one commit."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from threading import Event
from typing import Any

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from kernel.postgres import PreparedConnection, connect
from streams.engine.consumer import NotYet, Reaction, consumer_id
from streams.engine.stores import (
    COUNTED,
    Dropped,
    Known,
    LaneId,
    Parked,
    Progress,
    Refused,
    Request,
    Wanted,
    Write,
    progress_of,
)

_POSITIONS = "SELECT consumer, partition, next_offset, leader_epoch FROM position WHERE consumer = ANY(%s)"
_PARKED = """
SELECT consumer, partition, "offset", aggregate_id, version, cause, reason, code, since
FROM parked WHERE consumer = ANY(%s)
ORDER BY version, "offset"
"""
_DROPPED = 'SELECT consumer, partition, "offset" FROM dropped WHERE consumer = ANY(%s)'
_FACTS = 'SELECT "offset", reason, dropped_at FROM dropped WHERE consumer = %s AND partition = %s'
_REQUESTS = """
SELECT id, consumer, partition, action, aggregate_id, reason, "offset" FROM request WHERE consumer = ANY(%s) ORDER BY id
"""
_ASK = 'INSERT INTO request (id, consumer, partition, action, aggregate_id, reason, "offset") VALUES %s'
_VERSIONS = """
SELECT consumer, aggregate_id, version FROM unnest(%s::text[], %s::text[]) AS wanted (consumer, aggregate_id)
JOIN version USING (consumer, aggregate_id)
"""
_FIRST_POSITIONS = """
INSERT INTO position (consumer, partition, next_offset)
SELECT * FROM unnest(%s::text[], %s::integer[], %s::bigint[]) ON CONFLICT DO NOTHING
"""
# The fence: positions move, and versions with them, where the stored position is the expected one.
_MOVE = """
WITH moved AS (
    UPDATE position SET next_offset = wanted.next_offset, leader_epoch = wanted.leader_epoch
    FROM unnest(%s::text[], %s::integer[], %s::bigint[], %s::bigint[], %s::integer[])
        AS wanted (consumer, partition, expected, next_offset, leader_epoch)
    WHERE position.consumer = wanted.consumer AND position.partition = wanted.partition
        AND position.next_offset = wanted.expected
    RETURNING position.consumer, position.partition
), remembered AS (
    INSERT INTO version (consumer, aggregate_id, version)
    -- An aggregate is in one partition, unless somebody else has written to the topic.
    SELECT consumer, aggregate_id, max(version)
    FROM unnest(%s::text[], %s::integer[], %s::text[], %s::bigint[])
        AS applied (consumer, partition, aggregate_id, version)
    JOIN moved USING (consumer, partition)
    GROUP BY consumer, aggregate_id
    ON CONFLICT (consumer, aggregate_id) DO UPDATE SET version = excluded.version
)
SELECT consumer, partition FROM moved
"""
_PARK = """
INSERT INTO parked (consumer, partition, "offset", aggregate_id, version, cause, reason, code, since) VALUES %s
ON CONFLICT (consumer, partition, "offset") DO UPDATE
SET (version, cause, reason, code) = (excluded.version, excluded.cause, excluded.reason, excluded.code)
"""
_UNPARK = 'DELETE FROM parked WHERE consumer = %s AND partition = %s AND "offset" = ANY(%s)'
_DROP = 'INSERT INTO dropped (consumer, partition, "offset", reason) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING'
_EXCUSE = "UPDATE parked SET cause = 'passed' WHERE consumer = %s AND partition = %s AND cause = ANY(%s)"
_FINISH = "DELETE FROM request WHERE id = %s"

_TIMEOUTS = {"statement_timeout": "10s", "lock_timeout": "5s"}

#: What PostgreSQL says of a transaction that may do on another day, or with fewer events.
_LATER = (errors.QueryCanceled, errors.LockNotAvailable, psycopg2.extensions.TransactionRollbackError)
#: What it says of the service's own statements and data: that would be said again.
_OWN = (
    psycopg2.DataError,
    psycopg2.IntegrityError,
    psycopg2.ProgrammingError,
    psycopg2.NotSupportedError,
    errors.ProgramLimitExceeded,
    errors.StatementTooComplex,
)


class NotBegun(Exception):
    """A reaction that starts now has not been told where that is."""


class PostgresStore:
    """The store of all reactions of one service. Its connection is opened when first needed, and anew after it broke."""

    unavailable: tuple[type[Exception], ...] = (psycopg2.Error, OSError)

    def __init__(self, url: str, reactions: Iterable[Reaction], committed: Event | None = None) -> None:
        """`committed` is set after every transaction in which a reaction has done something."""
        self._url = url
        self._committed = committed
        self._reactions = {consumer_id(reaction): reaction for reaction in reactions}
        self._names = {reaction.name: name for name, reaction in self._reactions.items()}
        self._open: PreparedConnection | None = None
        self._rehearsal: _Rehearsal | None = None

    def begin(self, ends: Mapping[str, Mapping[int, int]]) -> None:
        """Reactions that start now begin where their topics, by partition, end: all at once, and once for ever."""
        first = [
            (reaction.name, partition, end)
            for reaction in self._reactions.values()
            if reaction.start == "now"
            for partition, end in sorted(ends[str(reaction.topic)].items())
        ]
        with self._connection() as connection, connection.cursor() as cursor:
            cursor.execute(_FIRST_POSITIONS, _columns(first, 3))

    def progress(self, lanes: Sequence[LaneId]) -> dict[LaneId, Progress]:
        """Makes the rows of partitions that were never read, so that there is a row to move.

        Raises NotBegun when it is not known where a reaction begins: at the first event could be years ago.
        """
        first = [
            (self._name(lane), lane.partition, 0)
            for lane in lanes
            if self._reactions[lane.consumer].start == "beginning"
        ]
        with self._connection() as connection, connection.cursor() as cursor:
            cursor.execute(_FIRST_POSITIONS, _columns(first, 3))
            stored = self._stored(cursor)
        if missing := [lane for lane in lanes if lane not in stored]:
            raise NotBegun(f"it is not known where {missing[0].consumer} begins: run `python -m ops starts` once")
        return {lane: stored[lane] for lane in lanes}

    def positions(self, lanes: Sequence[LaneId]) -> dict[LaneId, int]:
        """One statement."""
        with self._connection() as connection, connection.cursor() as cursor:
            stored = self._by_lane(cursor, _POSITIONS)
        return {lane: stored[lane][0][0] if lane in stored else 0 for lane in lanes}

    def stored(self) -> dict[LaneId, Progress]:
        """The progress of every lane that has any, for those who only look."""
        with self._connection() as connection, connection.cursor() as cursor:
            return self._stored(cursor)

    def close(self) -> None:
        """Ends the connection."""
        if self._open:
            self._open.close()

    def read(self, wanted: Mapping[LaneId, Wanted]) -> Mapping[LaneId, Known]:
        """Versions only: a reaction has no rows that the engine knows of."""
        pairs = [(self._name(lane), aggregate) for lane, want in wanted.items() for aggregate in want.aggregates]
        with self._connection() as connection, connection.cursor() as cursor:
            cursor.execute(_VERSIONS, _columns(pairs, 2))
            versions = {(name, aggregate): version for name, aggregate, version in cursor.fetchall()}
        return {
            lane: Known(
                {a: versions[name, a] for a in want.aggregates if (name := self._name(lane), a) in versions}, {}
            )
            for lane, want in wanted.items()
        }

    def apply(self, writes: Sequence[Write]) -> dict[LaneId, Exception]:
        """Writes without events are one transaction; those with events are one for each reaction.

        One transaction for all reactions could deadlock with another worker's, and one failure would undo the
        others. When a reaction's transaction fails, each of its writes gets one of its own.
        """
        quiet = [write for write in writes if not write.events]
        failures = self._apply_quiet(quiet) if quiet else {}
        working: dict[str, list[Write]] = {}
        for write in writes:
            if write.events:
                working.setdefault(write.lane.consumer, []).append(write)
        for mine in working.values():
            failures |= self._apply_working(mine)
        return failures

    def parked(self, lane: LaneId, key: str | None = None) -> list[Parked]:
        """The parked events of one aggregate or of all, in order of version, then offset."""
        with self._connection() as connection, connection.cursor() as cursor:
            found = self._by_lane(cursor, _PARKED).get(lane, ())
        return [one for one in (Parked(*row) for row in found) if key in (None, one.key)]

    def ask(self, requests: Sequence[Request]) -> None:
        """Leaves requests."""
        rows = [
            (one.id, self._name(one.lane), one.lane.partition, one.action, one.key, one.reason, one.offset)
            for one in requests
        ]
        with self._connection() as connection, connection.cursor() as cursor:
            execute_values(cursor, _ASK, rows)

    def requests(self, lanes: Sequence[LaneId]) -> list[Request]:
        """What operators want, the oldest first."""
        with self._connection() as connection, connection.cursor() as cursor:
            cursor.execute(_REQUESTS, (list(self._names),))
            rows = cursor.fetchall()
        mine = {*lanes}
        found = [Request(row[0], LaneId(self._names[row[1]], row[2]), *row[3:]) for row in rows]
        return [request for request in found if request.lane in mine]

    def drop(self, lane: LaneId, offset: int, reason: str) -> None:
        """Keeps the fact."""
        self._execute(_DROP, (self._name(lane), lane.partition, offset, reason))

    def dropped(self, lane: LaneId) -> dict[int, Dropped]:
        """What operators have dropped, by offset."""
        with self._connection() as connection, connection.cursor() as cursor:
            cursor.execute(_FACTS, (self._name(lane), lane.partition))
            return {offset: Dropped(reason, at) for offset, reason, at in cursor.fetchall()}

    def pass_by(self, lane: LaneId) -> None:
        """What is parked counts no longer."""
        self._execute(_EXCUSE, (self._name(lane), lane.partition, list(COUNTED)))

    def finish(self, request: Request) -> None:
        """Forgets the request."""
        self._execute(_FINISH, (request.id,))

    @contextmanager
    def rehearsing(self) -> Iterator[None]:
        """What is done meanwhile is one transaction, which is rolled back at the end."""
        connection = connect(self._url, "rehearsal", 5, **_TIMEOUTS)
        self._rehearsal = _Rehearsal(connection)
        try:
            yield
        finally:
            self._rehearsal = None
            connection.close()

    def _apply_quiet(self, writes: Sequence[Write]) -> dict[LaneId, Exception]:
        with self._connection() as connection, connection.cursor() as cursor:
            moved = self._move(cursor, writes)
            self._park(cursor, [write for write in writes if write.lane in moved])
        return {write.lane: Refused() for write in writes if write.lane not in moved}

    def _apply_working(self, writes: Sequence[Write]) -> dict[LaneId, Exception]:
        try:
            return self._react(writes)
        except _OwnFault as fault:
            failure = fault.error
        except _LATER as error:
            failure = NotYet(f"PostgreSQL gave up on it: {str(error).strip()}")
        except self.unavailable:
            raise
        except Exception as error:  # noqa: BLE001  # the reaction's own: it is parked with its reason
            failure = error
        if len(writes) == 1:
            return {writes[0].lane: failure}
        return {lane: one for write in writes for lane, one in self._apply_working([write]).items()}

    def _react(self, writes: Sequence[Write]) -> dict[LaneId, Exception]:
        """One reaction's writes in one transaction, which any exception undoes."""
        reaction = self._reactions[writes[0].lane.consumer]
        with self._connection() as connection, connection.cursor() as cursor:
            moved = self._move(cursor, writes)
            accepted = [write for write in writes if write.lane in moved]
            events = [event for write in accepted for event in write.events]
            try:
                if events:
                    reaction.handle(cursor, events)
            except _OWN as error:
                if _is_unpartitioned(error):
                    raise
                raise _OwnFault(error) from error
            self._park(cursor, accepted)
        if self._committed:
            self._committed.set()
        return {write.lane: Refused() for write in writes if write.lane not in moved}

    def _move(self, cursor: Cursor, writes: Sequence[Write]) -> set[LaneId]:
        places = [
            (self._name(write.lane), write.lane.partition, write.expected, write.position, write.leader_epoch)
            for write in writes
        ]
        versions = [
            (self._name(write.lane), write.lane.partition, *version)
            for write in writes
            for version in write.versions.items()
        ]
        cursor.execute(_MOVE, (*_columns(places, 5), *_columns(versions, 4)))
        return {LaneId(self._names[name], partition) for name, partition in cursor.fetchall()}

    def _park(self, cursor: Cursor, writes: Iterable[Write]) -> None:
        for write in writes:
            name, partition = self._name(write.lane), write.lane.partition
            if write.parked:
                execute_values(cursor, _PARK, [(name, partition, *one) for one in write.parked])
            if write.unparked:
                cursor.execute(_UNPARK, (name, partition, write.unparked))

    def _stored(self, cursor: Cursor) -> dict[LaneId, Progress]:
        positions = self._by_lane(cursor, _POSITIONS)
        parked = self._by_lane(cursor, _PARKED)
        dropped = self._by_lane(cursor, _DROPPED)
        return {
            lane: _progress(
                position,
                [Parked(*one) for one in parked.get(lane, ())],
                [offset for (offset,) in dropped.get(lane, ())],
            )
            for lane, [position] in positions.items()
        }

    def _by_lane(self, cursor: Cursor, query: str) -> dict[LaneId, list[Any]]:
        cursor.execute(query, (list(self._names),))
        found: dict[LaneId, list[Any]] = {}
        for name, partition, *row in cursor.fetchall():
            found.setdefault(LaneId(self._names[name], partition), []).append(row)
        return found

    def _execute(self, query: str, parameters: Sequence[Any]) -> None:
        with self._connection() as connection, connection.cursor() as cursor:
            cursor.execute(query, parameters)

    def _name(self, lane: LaneId) -> str:
        return self._reactions[lane.consumer].name

    def _connection(self) -> "PreparedConnection | _Rehearsal":
        """`with` on it commits, or rolls back when its block raises."""
        if self._rehearsal:
            return self._rehearsal
        if self._open is None or self._open.is_gone:
            self._open = connect(self._url, "reactions", 5, **_TIMEOUTS)
        return self._open


def _is_unpartitioned(error: psycopg2.Error) -> bool:
    """Whether a day has no partition in the outbox: housekeeping has stood still, and no event is at fault."""
    return isinstance(error, errors.CheckViolation) and error.diag.constraint_name is None


class _Rehearsal:
    """A connection on which `with` keeps what its block does for the next one, and commits nothing."""

    def __init__(self, connection: PreparedConnection) -> None:
        self._connection = connection

    def __enter__(self) -> PreparedConnection:
        self._execute("SAVEPOINT rehearsal")
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._execute("ROLLBACK TO SAVEPOINT rehearsal" if kind else "RELEASE SAVEPOINT rehearsal")

    def _execute(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)


class _OwnFault(Exception):
    """PostgreSQL refused what a reaction asked for, and not because it is away."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def stored_progress(url: str, reactions: Iterable[Reaction]) -> dict[LaneId, Progress]:
    """How far the reactions of one service are, for those who only look."""
    with closing(PostgresStore(url, reactions)) as store:
        return store.stored()


def _progress(position: Sequence[int], parked: Sequence[Parked], dropped: Iterable[int]) -> Progress:
    return progress_of(position[0], position[1], parked, dropped)


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [[row[column] for row in rows] for column in range(width)]
