"""Tables in ClickHouse: every row carries its topic, partition and offset, so the position is in the data itself.

Generation 3 of the table `orders` is the ClickHouse table `orders_3`; readers use the ClickHouse view `orders`,
whose comment names the generation that it shows. One insert is one block, and the tables are not partitioned,
so an insert is kept whole or not at all.

After the rows of a batch the table `position` gets their position: a lower bound, so that a start need not look
through all rows, and a table that takes few events is not behind.

ClickHouse can't compare and set. The check before an insert stops a worker that has been overtaken; should it
lose the race, its rows are the same rows again, and ReplacingMergeTree keeps one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, DataError, InterfaceError, OperationalError

from kernel.code import ROOT
from kernel.metrics import measured
from streams.engine.consumer import Table, consumer_id
from streams.engine.folds import fold_of
from streams.engine.stores import (
    COUNTED,
    Dropped,
    Known,
    LaneId,
    Overtaken,
    Parked,
    Progress,
    Refused,
    Request,
    Wanted,
    Write,
    progress_of,
)

ENGINE_SQL = ROOT / "sql" / "clickhouse" / "engine"
POSITION_COLUMNS = ("_topic", "_partition", "_offset")

_LIVE = "SELECT name, comment FROM system.tables WHERE database = currentDatabase() AND name IN {names:Array(String)}"
_MARKERS = """
SELECT generation, _partition, max(next_offset), argMax(leader_epoch, next_offset)
FROM position WHERE generation IN {generations:Array(String)} GROUP BY generation, _partition
"""
_ROWS_BEYOND = """
SELECT _partition, max(_offset) + 1 FROM {table:Identifier}
WHERE _offset >= {positions:Array(UInt64)}[_partition + 1] GROUP BY _partition
"""
_PARKED = """
SELECT generation, _partition, _offset, key, version, cause, reason, code, since FROM parked FINAL
WHERE generation IN {generations:Array(String)} AND NOT gone ORDER BY version, _offset
"""
_DROPPED = "SELECT DISTINCT consumer, _partition, _offset FROM dropped WHERE consumer IN {consumers:Array(String)}"
_FACTS = """
SELECT _offset, argMin(reason, dropped_at), min(dropped_at) FROM dropped
WHERE consumer = {consumer:String} AND _partition = {partition:UInt16} GROUP BY _offset
"""
_REQUESTS = """
SELECT id, consumer, _partition, action, key, reason, _offset FROM request FINAL
WHERE consumer IN {consumers:Array(String)} AND NOT gone ORDER BY id
"""
_PARKED_COLUMNS = ("generation", "_topic", "_partition", "_offset", *Parked._fields[1:], "gone")
_REQUEST_COLUMNS = ("id", "consumer", "_partition", "action", "key", "reason", "_offset", "gone")


def connect(url: str) -> Client:
    """A client for the tables' database; inserts are synchronous, so what is acknowledged is kept."""
    return clickhouse_connect.get_client(
        dsn=url, connect_timeout=5, send_receive_timeout=60, autogenerate_session_id=False
    )


def prepare(client: Client) -> None:
    """Makes the engine's own tables, where they are not there."""
    for path in sorted(ENGINE_SQL.glob("*.sql")):
        client.command(path.read_text())


def generation_table(table: str, generation: int) -> str:
    """The ClickHouse table that holds one generation."""
    return f"{table}_{generation}"


def live_generations(client: Client, tables: Iterable[str]) -> dict[str, int]:
    """The generations that readers see, by table; a table that has none is left out."""
    rows = client.query(_LIVE, {"names": list(tables)}).result_rows
    return {name: int(comment) for name, comment in rows if comment}


def create_generation(client: Client, table: Table, generation: int) -> None:
    """Makes the ClickHouse table of a generation, empty, when it is not there."""
    note_generations(client, {table: generation})
    client.command((ROOT / table.columns).read_text(), {"table": generation_table(table.name, generation)})


def note_generations(client: Client, generations: Mapping[Table, int]) -> None:
    """Notes that this code writes to these generations."""
    rows = {(table.name, generation, fold_of(table)) for table, generation in generations.items()}
    known = client.query("SELECT name, number, code FROM generation FINAL WHERE NOT gone").result_rows
    new = sorted(rows - {*known})
    if new:
        client.insert("generation", new, column_names=["name", "number", "code"])


def folds(client: Client, generations: Mapping[str, int]) -> dict[str, set[str]]:
    """By table, the fingerprints of all code that has written to this generation of it."""
    found: dict[str, set[str]] = {name: set() for name in generations}
    for name, number, code in client.query("SELECT name, number, code FROM generation FINAL WHERE NOT gone").result_rows:
        if generations.get(name) == number:
            found[name].add(code)
    return found


def show_generation(client: Client, table: str, generation: int, create: str = "CREATE OR REPLACE VIEW") -> None:
    """Points readers at a generation, in one step."""
    # Names are those of our own modules; ClickHouse takes no parameters inside the definition of a view.
    client.command(
        f"{create} {table} AS SELECT * FROM {generation_table(table, generation)} FINAL COMMENT '{generation:d}'"
    )


class ClickHouseStore:
    """The store of all tables; of their live generations unless told which."""

    unavailable: tuple[type[Exception], ...] = (OperationalError, DatabaseError, InterfaceError, OSError)

    def __init__(self, url: str, tables: Iterable[Table], generation: int | None = None) -> None:
        self._url = url
        self._tables = {consumer_id(table): table for table in tables}
        self._fixed = generation
        self._generations: dict[LaneId, int] = {}
        self._open: Client | None = None
        self._noted: set[tuple[Table, int]] = set()
        # A generation never changes its columns, and no number is used twice.
        self._columns: dict[str, dict[str, Any]] = {}

    def progress(self, lanes: Sequence[LaneId]) -> dict[LaneId, Progress]:
        """Looks up the live generations anew, and makes the first one of a table that has none."""
        live = self._live()
        for lane in lanes:
            self._generations[lane] = live[lane.consumer]
        self._note_code({self._tables[lane.consumer]: live[lane.consumer] for lane in lanes})
        names = {name: self._generation_of(name, live[name]) for name in {lane.consumer for lane in lanes}}
        found = progress(self._client(), names)
        # What the last insert of somebody who died did not mark any more.
        marked = self.positions(lanes)
        self._mark(Write(lane, marked[lane], at.position, at.leader_epoch) for lane, at in found.items() if lane in marked)
        return {lane: found.get(lane, Progress()) for lane in lanes}

    def positions(self, lanes: Sequence[LaneId]) -> dict[LaneId, int]:
        """What is marked, of the generations that the lanes write to. Of one that readers left, it is -1."""
        live = self._live()
        marked = _markers(self._client(), {name: self._generation_of(name, live[name]) for name in self._tables})
        return {
            lane: marked.get(lane, (0, -1))[0] if self._generations[lane] == live[lane.consumer] else -1
            for lane in lanes
        }

    def read(self, wanted: Mapping[LaneId, Wanted]) -> Mapping[LaneId, Known]:
        """Nothing: ReplacingMergeTree folds doubles by version, and `marea verify` finds gaps."""
        return {lane: Known({}, {}) for lane in wanted}

    @measured("clickhouse", "apply")
    def apply(self, writes: Sequence[Write]) -> dict[LaneId, Exception]:
        """One insert a table for all of its partitions that are not refused, then the positions, in one more."""
        failures, accepted = self._fence(writes)
        self._park(accepted, [(write, one, 0) for write in accepted for one in write.parked])
        for name, table in self._tables.items():
            mine = [write for write in accepted if write.lane.consumer == name and write.records]
            try:
                self._insert(table, mine)
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                failures |= {write.lane: error for write in mine}
        kept = [write for write in accepted if write.lane not in failures]
        self._unpark(kept)
        self._mark(kept)
        return failures

    def parked(self, lane: LaneId, key: str | None = None) -> list[Parked]:
        """The parked events of one aggregate or of all, in order of version, then offset."""
        generation = self._generation_of(lane.consumer, self._generations[lane])
        rows = self._client().query(_PARKED, {"generations": [generation]}, tz_mode="aware").result_rows
        found = [Parked(*rest) for _, partition, *rest in rows if partition == lane.partition]
        return [one for one in found if key in (None, one.key)]

    def ask(self, requests: Sequence[Request]) -> None:
        """Leaves requests beside the generations."""
        self._note(requests, gone=0)

    def requests(self, lanes: Sequence[LaneId]) -> list[Request]:
        """What operators want, the oldest first."""
        rows = self._client().query(_REQUESTS, {"consumers": list(self._tables)}).result_rows
        mine = {*lanes}
        found = [Request(row[0], LaneId(row[1], row[2]), *row[3:]) for row in rows]
        return [request for request in found if request.lane in mine]

    def drop(self, lane: LaneId, offset: int, reason: str) -> None:
        """Keeps the fact beside the generations."""
        columns = ["consumer", "_partition", "_offset", "reason"]
        self._client().insert("dropped", [[*lane, offset, reason]], column_names=columns)

    def dropped(self, lane: LaneId) -> dict[int, Dropped]:
        """What operators have dropped, by offset."""
        parameters = {"consumer": lane.consumer, "partition": lane.partition}
        rows = self._client().query(_FACTS, parameters, tz_mode="aware").result_rows
        return {offset: Dropped(reason, at) for offset, reason, at in rows}

    def pass_by(self, lane: LaneId) -> None:
        """What is parked counts no longer."""
        write = Write(lane, 0, 0)
        passed = [one._replace(cause="passed") for one in self.parked(lane) if one.cause in COUNTED]
        self._park([write], [(write, one, 0) for one in passed])

    def finish(self, request: Request) -> None:
        """The request has been carried out."""
        self._note([request], gone=1)

    def _note(self, requests: Sequence[Request], gone: int) -> None:
        rows = [[one.id, *one.lane, one.action, one.key, one.reason, one.offset, gone] for one in requests]
        if rows:
            self._client().insert("request", rows, column_names=_REQUEST_COLUMNS)

    def _live(self) -> dict[str, int]:
        if self._fixed:
            return dict.fromkeys(self._tables, self._fixed)
        tables = [table.name for table in self._tables.values()]
        live = live_generations(self._client(), tables)
        for table in self._tables.values():
            if table.name not in live:
                create_generation(self._client(), table, 1)
                # Another worker may have been faster, and its generation may have been rebuilt since.
                show_generation(self._client(), table.name, 1, "CREATE VIEW IF NOT EXISTS")
        if len(live) < len(tables):
            live = live_generations(self._client(), tables)
        return {name: live[table.name] for name, table in self._tables.items()}

    def _note_code(self, generations: Mapping[Table, int]) -> None:
        if not generations.items() <= self._noted:
            note_generations(self._client(), generations)
            self._noted.update(generations.items())

    def _fence(self, writes: Sequence[Write]) -> tuple[dict[LaneId, Exception], list[Write]]:
        """The check before an insert: the same generation is live, and nobody has moved the position."""
        live = self._live()
        names = {name: self._generation_of(name, live[name]) for name in {write.lane.consumer for write in writes}}
        marked = _markers(self._client(), names)
        failures: dict[LaneId, Exception] = {}
        accepted: list[Write] = []
        for write in writes:
            stored, _ = marked.get(write.lane, (0, -1))
            if self._generations[write.lane] == live[write.lane.consumer] and stored <= write.expected:
                accepted.append(write)
            else:
                failures[write.lane] = Refused()
        return failures, accepted

    def _insert(self, table: Table, writes: Sequence[Write]) -> None:
        if not writes:
            return
        generation = self._generation(writes[0])
        types = self._column_types(generation)
        records = [
            {**row, "_topic": table.topic, "_partition": write.lane.partition, "_offset": offset}
            for write in writes
            for offset, row in write.records
        ]
        # A generation that other code built may have other columns: what it lacks comes with a rebuild.
        names = [name for name in types if name in records[0]]
        try:
            self._client().insert(
                generation,
                [[row[name] for row in records] for name in names],
                column_names=names,
                column_types=[types[name] for name in names],
                column_oriented=True,
            )
        except DataError as error:
            # The driver makes it a DatabaseError; but it speaks of the rows, and would be the same next time.
            raise ValueError(str(error)) from error

    def _park(self, writes: Sequence[Write], parked: Sequence[tuple[Write, Parked, int]]) -> None:
        rows = [
            [self._generation(write), self._tables[write.lane.consumer].topic, write.lane.partition, *one, gone]
            for write, one, gone in parked
        ]
        if rows:
            self._client().insert("parked", rows, column_names=_PARKED_COLUMNS)

    def _unpark(self, writes: Sequence[Write]) -> None:
        """After the rows: twice is harmless."""
        gone = [
            (write, Parked(offset, "", 0, "passed", "", "", datetime.now(UTC)), 1)
            for write in writes
            for offset in write.unparked
        ]
        self._park(writes, gone)

    def _mark(self, writes: Iterable[Write]) -> None:
        rows = [
            [self._generation(write), write.lane.partition, write.position, write.leader_epoch]
            for write in writes
            if write.position > write.expected
        ]
        if rows:
            columns = ["generation", "_partition", "next_offset", "leader_epoch"]
            self._client().insert("position", rows, column_names=columns)

    def _generation(self, write: Write) -> str:
        return self._generation_of(write.lane.consumer, self._generations[write.lane])

    def _generation_of(self, consumer: str, generation: int) -> str:
        return generation_table(self._tables[consumer].name, generation)

    def _column_types(self, generation: str) -> dict[str, Any]:
        if generation not in self._columns:
            context = self._client().create_insert_context(generation)
            self._columns[generation] = dict(zip(context.column_names, context.column_types, strict=True))
        return self._columns[generation]

    def _client(self) -> Client:
        if self._open is None:
            self._open = connect(self._url)
            prepare(self._open)
        return self._open


def progress(client: Client, generations: Mapping[str, str]) -> dict[LaneId, Progress]:
    """How far each lane is; `generations` gives the ClickHouse table by consumer."""
    positions = _markers(client, generations)
    for consumer, table in generations.items():
        for partition, position in _rows_beyond(client, table, consumer, positions).items():
            positions[LaneId(consumer, partition)] = (position, -1)
    parked = _parked(client, generations, positions)
    dropped: dict[LaneId, set[int]] = {}
    for consumer, partition, offset in client.query(_DROPPED, {"consumers": list(generations)}).result_rows:
        dropped.setdefault(LaneId(consumer, partition), set()).add(offset)
    return {
        lane: progress_of(*positions.get(lane, (0, -1)), parked.get(lane, ()), dropped.get(lane, ()))
        for lane in positions.keys() | parked.keys() | dropped.keys()
    }


def _markers(client: Client, generations: Mapping[str, str]) -> dict[LaneId, tuple[int, int]]:
    names = {table: consumer for consumer, table in generations.items()}
    rows = client.query(_MARKERS, {"generations": list(names)}).result_rows
    return {LaneId(names[table], partition): (int(position), epoch) for table, partition, position, epoch in rows}


def _rows_beyond(
    client: Client, table: str, consumer: str, marked: Mapping[LaneId, tuple[int, int]]
) -> dict[int, int]:
    """Positions by rows that are beyond the markers: their insert was the last that was done."""
    numbers = [lane.partition for lane in marked if lane.consumer == consumer]
    positions = [marked.get(LaneId(consumer, p), (0, -1))[0] for p in range(max(numbers, default=-1) + 1)]
    rows = client.query(_ROWS_BEYOND, {"table": table, "positions": positions}).result_rows
    return {int(partition): int(position) for partition, position in rows}


def _parked(
    client: Client, generations: Mapping[str, str], positions: Mapping[LaneId, tuple[int, int]]
) -> dict[LaneId, list[Parked]]:
    names = {table: consumer for consumer, table in generations.items()}
    found: dict[LaneId, list[Parked]] = {}
    for table, partition, *rest in client.query(_PARKED, {"generations": list(names)}, tz_mode="aware").result_rows:
        lane, one = LaneId(names[table], partition), Parked(*rest)
        # What was parked later is read again, and parked again: the rows before it may not have been inserted.
        if one.offset < positions.get(lane, (0, -1))[0]:
            found.setdefault(lane, []).append(one)
    return found


class ClickHouseGenerations:
    """The successor of a table's live generation, from an empty start to the switch of readers.

    Whoever uses it holds the lock of the table's rebuild. Should it have lost that without knowing, the generation that
    it builds is gone, and whatever it does next fails: it has another number than everybody else's.
    """

    def __init__(self, url: str, table: Table, partitions: int) -> None:
        self._url = url
        self._client = connect(url)
        prepare(self._client)
        self._table = table
        self._partitions = range(partitions)
        self.live = self._live_now()
        self.next = 0
        self._switched = False

    def begin(self, number: Callable[[int], int]) -> dict[int, int]:
        """Clears what rebuilds that died have left, and keeps a copy of the live rows to compare with.

        `number` gives one above the given that none has had. Gives the positions at which the copy was made, which
        shares the live parts' files.
        """
        if not self.live:  # no worker has run yet
            ClickHouseStore(self._url, [self._table]).progress([])
            self.live = self._live_now()
        self.sweep()
        self.next = number(max(self.live, self._highest()))
        # What is marked before the copy is made is in it; what came in between says so by itself.
        marked = self._marked()
        self._client.command(f"CREATE TABLE {self._copy} CLONE AS {self._live_table}")
        create_generation(self._client, self._table, self.next)
        return self._latest(marked, self._copy)

    def store(self) -> ClickHouseStore:
        """The store of the next generation."""
        return ClickHouseStore(self._url, [self._table], self.next)

    def differences(self) -> int:
        """Rows in which the next generation is not as the copy, in the columns that both have.

        Means something at the positions of the copy only.
        """
        columns = ", ".join(self._common_columns())
        made, copy = (f"SELECT {columns} FROM {table} FINAL" for table in (self._next_table, self._copy))
        return max(
            self._count(f"{made} EXCEPT {copy}"),
            self._count(f"{copy} EXCEPT {made}"),
            # The same row twice is no difference between sets.
            abs(self._count(made) - self._count(copy)),
        )

    def changed_columns(self) -> list[str]:
        """What only one generation has, or both in different types."""
        return sorted({name for name, _ in self._columns(self._next_table) ^ self._columns(self._live_table)})

    def live_positions(self) -> dict[int, int]:
        """Where the live generation is now."""
        return self._latest(self._marked(), self._live_table)

    def live_progress(self) -> dict[int, Progress]:
        """As `live_positions`, with what is parked."""
        found = progress(self._client, {"": self._live_table})
        return {partition: found.get(LaneId("", partition), Progress()) for partition in self._partitions}

    def switch(self) -> dict[int, int]:
        """Shows the next generation to readers, then takes the live one away from its writers.

        Gives the positions that it had reached. An insert that is under way either came before, or fails and is
        tried again, which finds the next generation.
        """
        if self._live_now() != self.live:
            raise Overtaken(f"generation {self.live} of {self._table.name} is live no more")
        self._drop(self._copy)
        self._switched = True
        # ClickHouse refuses this when the next generation has been swept away.
        show_generation(self._client, self._table.name, self.next)
        retired = f"{self._table.name}_retired_{self.live}"
        self._client.command(f"RENAME TABLE {self._live_table} TO {retired}")
        return self._latest(self._marked(), retired)

    def finish(self) -> None:
        """Deletes the generation that was live."""
        self._delete(self.live)

    def abandon(self) -> None:
        """Deletes the next generation, unless readers may see it by now; the live one stays as it is."""
        if self.next and not self._switched:
            self._drop(self._copy)
            self._delete(self.next)

    def sweep(self) -> None:
        """Deletes what rebuilds that died have left: every generation but the live one."""
        there = {self._number_of(table) for table in self._tables("[0-9]+")}
        for generation in sorted(there | self._noted()):
            if generation != self._live_now():
                self._delete(generation)
        for table in self._tables("(copy|retired)_[0-9]+"):
            self._drop(table)

    @property
    def _live_table(self) -> str:
        return generation_table(self._table.name, self.live)

    @property
    def _next_table(self) -> str:
        return generation_table(self._table.name, self.next)

    @property
    def _copy(self) -> str:
        return f"{self._table.name}_copy_{self.next}"

    def _live_now(self) -> int:
        return live_generations(self._client, [self._table.name]).get(self._table.name, 0)

    def _tables(self, ending: str) -> list[str]:
        query = "SELECT name FROM system.tables WHERE database = currentDatabase() AND match(name, {pattern:String})"
        rows = self._client.query(query, {"pattern": f"^{self._table.name}_{ending}$"}).result_rows
        return [name for (name,) in rows]

    def _number_of(self, table: str) -> int:
        return int(table.rpartition("_")[2])

    def _noted(self) -> set[int]:
        query = "SELECT DISTINCT number FROM generation FINAL WHERE name = {name:String} AND NOT gone"
        return {number for (number,) in self._client.query(query, {"name": self._table.name}).result_rows}

    def _highest(self) -> int:
        query = "SELECT max(number) FROM generation WHERE name = {name:String}"
        [(number,)] = self._client.query(query, {"name": self._table.name}).result_rows
        return int(number)

    def _count(self, select: str) -> int:
        return int(str(self._client.command(f"SELECT count() FROM ({select})")))

    def _columns(self, table: str) -> set[tuple[str, str]]:
        query = "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
        return {(name, type_) for name, type_ in self._client.query(query, {"table": table}).result_rows}

    def _common_columns(self) -> list[str]:
        return sorted(name for name, _ in self._columns(self._next_table) & self._columns(self._copy))

    def _marked(self) -> dict[LaneId, tuple[int, int]]:
        return _markers(self._client, {"": self._live_table})

    def _latest(self, marked: Mapping[LaneId, tuple[int, int]], table: str) -> dict[int, int]:
        beyond = _rows_beyond(self._client, table, "", marked)
        return {p: beyond.get(p) or marked.get(LaneId("", p), (0, -1))[0] for p in self._partitions}

    def _delete(self, generation: int) -> None:
        table = generation_table(self._table.name, generation)
        self._drop(table)
        self._drop(f"{self._table.name}_retired_{generation}")
        for kept in ("parked", "position"):
            self._client.command(f"DELETE FROM {kept} WHERE generation = {{table:String}}", {"table": table})
        self._client.command(
            "INSERT INTO generation (name, number, code, gone) SELECT name, number, code, 1 FROM generation FINAL"
            " WHERE name = {name:String} AND number = {number:UInt32} AND NOT gone",
            {"name": self._table.name, "number": generation},
        )

    def _drop(self, table: str) -> None:
        self._client.command(f"DROP TABLE IF EXISTS {table} SYNC")
