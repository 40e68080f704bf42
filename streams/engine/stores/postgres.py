"""Reactions in the PostgreSQL of the service that reacts: its changes, its outbox and the position, one commit."""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg2
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from kernel.postgres import PreparedConnection, connect
from streams.engine.consumer import Reaction
from streams.engine.stores import Known, Progress, Wanted, Write

_POSITIONS = "SELECT partition, next_offset FROM position WHERE consumer = %s AND partition = ANY(%s)"
_WAITING = "SELECT partition, aggregate_id FROM parked WHERE consumer = %s AND partition = ANY(%s)"
_VERSIONS = "SELECT aggregate_id, version FROM version WHERE consumer = %s AND aggregate_id = ANY(%s)"
_FIRST_POSITION = "INSERT INTO position (consumer, partition, next_offset) VALUES %s ON CONFLICT DO NOTHING"
# The fence: positions move, and versions with them, where the stored position is the expected one.
_MOVE = """
WITH moved AS (
    UPDATE position SET next_offset = wanted.next_offset
    FROM unnest(%s::integer[], %s::bigint[], %s::bigint[]) AS wanted (partition, expected, next_offset)
    WHERE consumer = %s AND position.partition = wanted.partition AND position.next_offset = wanted.expected
    RETURNING position.partition
), remembered AS (
    INSERT INTO version (consumer, aggregate_id, version)
    -- An aggregate is in one partition, unless somebody else has written to the topic.
    SELECT %s, aggregate_id, max(version)
    FROM unnest(%s::integer[], %s::text[], %s::bigint[]) AS applied (partition, aggregate_id, version)
    JOIN moved USING (partition)
    GROUP BY aggregate_id
    ON CONFLICT (consumer, aggregate_id) DO UPDATE SET version = excluded.version
)
SELECT partition FROM moved
"""
_PARK = 'INSERT INTO parked (consumer, partition, "offset", aggregate_id, reason) VALUES %s ON CONFLICT DO NOTHING'


class PostgresStore:
    """The store of one reaction. Its connection is opened when first needed, and anew after it broke."""

    #: All that PostgreSQL says, but for what it says of the data: that would be said again.
    unavailable: tuple[type[Exception], ...] = (
        psycopg2.OperationalError,
        psycopg2.InterfaceError,
        psycopg2.ProgrammingError,
        psycopg2.InternalError,
        psycopg2.NotSupportedError,
    )

    def __init__(self, url: str, reaction: Reaction) -> None:
        self._url = url
        self._reaction = reaction
        self._open: PreparedConnection | None = None

    def progress(self, partitions: Sequence[int]) -> dict[int, Progress]:
        """Makes the rows of partitions that were never read, so that there is a row to move."""
        name = self._reaction.name
        with self._connection() as connection, connection.cursor() as cursor:
            execute_values(cursor, _FIRST_POSITION, [(name, partition, 0) for partition in partitions])
            cursor.execute(_POSITIONS, (name, list(partitions)))
            positions = dict(cursor.fetchall())
            waiting: dict[int, set[str]] = {partition: set() for partition in partitions}
            cursor.execute(_WAITING, (name, list(partitions)))
            for partition, aggregate_id in cursor.fetchall():
                waiting[partition].add(aggregate_id)
        return {p: Progress(positions[p], frozenset(waiting[p])) for p in partitions}

    def read(self, wanted: Mapping[int, Wanted]) -> Mapping[int, Known]:
        """Versions only: a reaction has no rows that the engine knows of."""
        aggregates = [aggregate for want in wanted.values() for aggregate in want.aggregates]
        with self._connection() as connection, connection.cursor() as cursor:
            cursor.execute(_VERSIONS, (self._reaction.name, aggregates))
            versions: dict[str, int] = dict(cursor.fetchall())
        return {
            partition: Known({a: versions[a] for a in want.aggregates if a in versions}, {})
            for partition, want in wanted.items()
        }

    def apply(self, writes: Sequence[Write]) -> set[int]:
        """All partitions that are not refused, in one transaction; an exception of the reaction undoes it."""
        with self._connection() as connection, connection.cursor() as cursor:
            moved = self._move(cursor, writes)
            accepted = [write for write in writes if write.partition in moved]
            events = [event for write in accepted for event in write.events]
            if events:
                self._reaction.handle(cursor, events)
            self._park(cursor, accepted)
        return {write.partition for write in writes} - moved

    def _move(self, cursor: Cursor, writes: Sequence[Write]) -> set[int]:
        name = self._reaction.name
        places = [(write.partition, write.expected, write.position) for write in writes]
        versions = [(write.partition, *version) for write in writes for version in write.versions.items()]
        cursor.execute(_MOVE, (*_columns(places, 3), name, name, *_columns(versions, 3)))
        return {partition for (partition,) in cursor.fetchall()}

    def _park(self, cursor: Cursor, writes: Sequence[Write]) -> None:
        parked = [(self._reaction.name, write.partition, *one) for write in writes for one in write.parked]
        if parked:
            execute_values(cursor, _PARK, parked)

    def _connection(self) -> PreparedConnection:
        """`with` on it commits, or rolls back when its block raises."""
        if self._open is None or self._open.is_gone:
            self._open = connect(
                self._url, self._reaction.name, 5, statement_timeout="30s", lock_timeout="10s"
            )
        return self._open


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [[row[column] for row in rows] for column in range(width)]
