"""Tables in ClickHouse: every row carries its topic, partition and offset, so the position is in the data itself.

Generation 3 of the table `orders` is the ClickHouse table `orders_3`; readers use the ClickHouse view `orders`,
whose comment names the generation that it shows. One insert is one block, and the tables are not partitioned,
so an insert is kept whole or not at all.

ClickHouse can't compare and set. The check before an insert stops a worker that has been overtaken; should it
lose the race, its rows are the same rows again, and ReplacingMergeTree keeps one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, DataError, InterfaceError, OperationalError

from streams.engine.consumer import Table
from streams.engine.stores import Known, Progress, Wanted, Write

SQL = Path(__file__).parents[3] / "sql" / "clickhouse"
POSITION_COLUMNS = ("_topic", "_partition", "_offset")

_LIVE = "SELECT comment FROM system.tables WHERE database = currentDatabase() AND name = {name:String}"
_POSITIONS = "SELECT _partition, max(_offset) + 1 FROM {table:Identifier} GROUP BY _partition"
_PARKED = "SELECT _partition, _offset, key FROM parked WHERE generation = {generation:String}"


def connect(url: str) -> Client:
    """A client for the tables' database; inserts are synchronous, so what is acknowledged is kept."""
    return clickhouse_connect.get_client(
        dsn=url, connect_timeout=5, send_receive_timeout=60, autogenerate_session_id=False
    )


def generation_table(table: str, generation: int) -> str:
    """The ClickHouse table that holds one generation."""
    return f"{table}_{generation}"


def live_generation(client: Client, table: str) -> int | None:
    """The generation that readers see; None before there is one."""
    rows = client.query(_LIVE, {"name": table}).result_rows
    return int(rows[0][0]) if rows else None


def create_generation(client: Client, table: str, generation: int) -> None:
    """Makes the ClickHouse table of a generation, empty, when it is not there."""
    client.command(next(SQL.glob(f"*/{table}.sql")).read_text(), {"table": generation_table(table, generation)})


def show_generation(client: Client, table: str, generation: int, create: str = "CREATE OR REPLACE VIEW") -> None:
    """Points readers at a generation, in one step."""
    # Names are those of our own modules; ClickHouse takes no parameters inside the definition of a view.
    client.command(
        f"{create} {table} AS SELECT * FROM {generation_table(table, generation)} FINAL COMMENT '{generation:d}'"
    )


def _positions(client: Client, table: str) -> dict[int, int]:
    rows = client.query(_POSITIONS, {"table": table}).result_rows
    return {int(partition): int(position) for partition, position in rows}


class ClickHouseStore:
    """The store of one table; of its live generation unless told which."""

    unavailable: tuple[type[Exception], ...] = (OperationalError, DatabaseError, InterfaceError, OSError)

    def __init__(self, url: str, table: Table, generation: int | None = None) -> None:
        self._url = url
        self._table = table
        self._fixed = generation
        self._generations: dict[int, int] = {}
        self._open: Client | None = None
        self._columns: dict[str, Any] = {}

    def progress(self, partitions: Sequence[int]) -> dict[int, Progress]:
        """Looks up the live generation anew, and makes the first one when there is none."""
        generation = self._fixed or self.live_generation()
        self._generations.update(dict.fromkeys(partitions, generation))
        table = generation_table(self._table.name, generation)
        positions = _positions(self._client(), table)
        waiting: dict[int, set[str]] = {partition: set() for partition in partitions}
        for partition, offset, key in self._client().query(_PARKED, {"generation": table}).result_rows:
            # What was parked later is read again, and parked again: the rows before it may not have been inserted.
            if partition in waiting and offset < positions.get(partition, 0):
                waiting[partition].add(key)
        return {p: Progress(positions.get(p, 0), frozenset(waiting[p])) for p in partitions}

    def read(self, wanted: Mapping[int, Wanted]) -> Mapping[int, Known]:
        """Nothing: ReplacingMergeTree folds doubles by version, and `marea verify` finds gaps."""
        return {partition: Known({}, {}) for partition in wanted}

    def apply(self, writes: Sequence[Write]) -> set[int]:
        """One insert for all partitions that are not refused."""
        live = self._fixed or self.live_generation()
        positions = _positions(self._client(), generation_table(self._table.name, live))
        accepted = [
            write
            for write in writes
            # Events without rows leave no trace: what is stored may be behind, but never ahead.
            if self._generations[write.partition] == live and positions.get(write.partition, 0) <= write.expected
        ]
        self._park(live, accepted)
        self._insert(generation_table(self._table.name, live), accepted)
        return {write.partition for write in writes} - {write.partition for write in accepted}

    def _insert(self, table: str, writes: Sequence[Write]) -> None:
        records = [
            ({**row, "_topic": self._table.topic, "_partition": write.partition, "_offset": offset})
            for write in writes
            for offset, row in write.records
        ]
        if not records:
            return
        types = self._column_types(table)
        try:
            self._client().insert(
                table,
                [[row[name] for row in records] for name in types],
                column_names=list(types),
                column_types=list(types.values()),
                column_oriented=True,
            )
        except DataError as error:
            # The driver makes it a DatabaseError; but it speaks of the rows, and would be the same next time.
            raise ValueError(str(error)) from error

    def _park(self, generation: int, writes: Sequence[Write]) -> None:
        rows = [
            [generation_table(self._table.name, generation), self._table.topic, write.partition, *parked]
            for write in writes
            for parked in write.parked
        ]
        if rows:
            columns = ["generation", "_topic", "_partition", "_offset", "key", "reason"]
            self._client().insert("parked", rows, column_names=columns)

    def live_generation(self) -> int:
        """The generation that readers see; makes the first one when there is none."""
        live = live_generation(self._client(), self._table.name)
        if live is None:
            live = 1
            create_generation(self._client(), self._table.name, live)
            # Another worker may have been faster, and its generation may have been rebuilt since.
            show_generation(self._client(), self._table.name, live, "CREATE VIEW IF NOT EXISTS")
        return live

    def _column_types(self, table: str) -> dict[str, Any]:
        if table not in self._columns:
            context = self._client().create_insert_context(table)
            self._columns[table] = dict(zip(context.column_names, context.column_types, strict=True))
        columns: dict[str, Any] = self._columns[table]
        return columns

    def _client(self) -> Client:
        if self._open is None:
            self._open = connect(self._url)
            self._open.command((SQL / "engine" / "parked.sql").read_text())
        return self._open


class ClickHouseGenerations:
    """The successor of a table's live generation, from an empty start to the switch of readers."""

    def __init__(self, url: str, table: Table, partitions: int) -> None:
        self._url = url
        self._client = connect(url)
        self._table = table
        self._partitions = range(partitions)
        self.live = ClickHouseStore(url, table).live_generation()
        self.next = self.live + 1
        self._live_table = generation_table(table.name, self.live)
        self._next_table = generation_table(table.name, self.next)
        self._copy = f"{table.name}_copy"
        self._retired = f"{table.name}_retired"

    def begin(self) -> dict[int, int]:
        """Clears what a failed attempt left, and keeps a copy of the live rows to compare with.

        Gives the positions at which the copy was made. The copy shares the live parts' files.
        """
        self.abandon()
        self._client.command(f"CREATE TABLE {self._copy} CLONE AS {self._live_table}")
        create_generation(self._client, self._table.name, self.next)
        return self._positions(self._copy)

    def store(self) -> ClickHouseStore:
        """The store of the next generation."""
        return ClickHouseStore(self._url, self._table, self.next)

    def identical(self) -> bool:
        """Whether the next generation has the same rows as the copy; only true at the positions of the copy."""
        rows = f"SELECT * FROM {self._next_table} FINAL", f"SELECT * FROM {self._copy} FINAL"
        counts = [self._count(select) for select in rows]
        differing = [self._count(f"{rows[one]} EXCEPT {rows[other]}") for one, other in ((0, 1), (1, 0))]
        return counts[0] == counts[1] and differing == [0, 0]

    def live_positions(self) -> dict[int, int]:
        """Where the live generation is now."""
        return self._positions(self._live_table)

    def switch(self) -> dict[int, int]:
        """Shows the next generation to readers, then takes the live one away from its writers.

        Gives the positions that it had reached. An insert that is under way either came before, or fails and is
        tried again, which finds the next generation.
        """
        show_generation(self._client, self._table.name, self.next)
        self._drop(self._retired)
        self._client.command(f"RENAME TABLE {self._live_table} TO {self._retired}")
        return self._positions(self._retired)

    def finish(self) -> None:
        """Deletes the generation that was live."""
        self._delete(self.live)
        self._drop(self._copy)
        self._drop(self._retired)

    def abandon(self) -> None:
        """Deletes the next generation; the live one stays as it is."""
        self._delete(self.next)
        self._drop(self._copy)

    def _count(self, select: str) -> Any:
        return self._client.command(f"SELECT count() FROM ({select})")

    def _positions(self, table: str) -> dict[int, int]:
        stored = _positions(self._client, table)
        return {partition: stored.get(partition, 0) for partition in self._partitions}

    def _delete(self, generation: int) -> None:
        table = generation_table(self._table.name, generation)
        self._drop(table)
        self._client.command("DELETE FROM parked WHERE generation = {table:String}", {"table": table})

    def _drop(self, table: str) -> None:
        self._client.command(f"DROP TABLE IF EXISTS {table} SYNC")
