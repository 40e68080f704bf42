"""Both sides of every comparison of `marea verify`: what PostgreSQL demands, and what is there.

A consumer is compared because it exists: views, tables and the services' states are found by themselves. Then services are
compared with each other, and with companies outside: see ops/balance.py.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

from api.services import reactions, services, tables, views
from kernel import settings
from ops import books
from ops.balance import LINES
from ops.states import CannotVerify, Keyed, Part, States, read_rows
from streams.engine.consumer import Reaction, Row, Table, View, consumer_id
from streams.engine.indexes import entries_of, parts_of
from streams.engine.reader import Views
from streams.engine.stores.clickhouse import POSITION_COLUMNS, generation_table, live_generations
from streams.engine.stores.clickhouse import connect as connect_clickhouse
from streams.engine.stores.redis import connect as connect_redis

_NAMING = """
SELECT name FROM system.columns
WHERE database = currentDatabase() AND table = {table:String}
    AND is_in_sorting_key AND name != 'version' AND NOT startsWith(type, 'DateTime64')
ORDER BY position
"""


class Comparisons:
    """Everything that there is to compare, in the stores that the settings name."""

    def __init__(self) -> None:
        self._partitions = settings.partitions()
        self._redis = connect_redis(settings.redis_url())
        self._views = Views(settings.redis_url(), self._partitions)
        self._clickhouse = connect_clickhouse(settings.clickhouse_url())
        self._sources = _sources()

    def parts(self, names: Collection[str] | None = None) -> Iterator[tuple[str, Iterable[Part]]]:
        """By consumer or line, its parts, to be used before the next is asked for; of all of them unless told which."""
        by_topic: dict[str, list[tuple[str, Callable[[States], Iterable[Part]]]]] = {}
        for name, topic, parts in self._compared():
            if names is None or name in names:
                by_topic.setdefault(topic, []).append((name, parts))
        for topic, compared in by_topic.items():
            with self._states(topic) as states:
                for name, parts in compared:
                    yield name, parts(states)
        if lines := [name for name in LINES if names is None or name in names]:
            with books.kept(self._partitions) as kept:
                for name in lines:
                    yield name, books.parts(kept, LINES[name], self._partitions)

    def _compared(self) -> Iterator[tuple[str, str, Callable[[States], Iterable[Part]]]]:
        for view in views().values():
            yield consumer_id(view), view.topic, partial(self._view_parts, view)
        for table in tables().values():
            yield consumer_id(table), table.topic, partial(self._table_parts, table)
        for reaction in reactions().values():
            yield consumer_id(reaction), reaction.topic, partial(self._reaction_parts, reaction)

    @contextmanager
    def _states(self, topic: str) -> Iterator[States]:
        if topic not in self._sources:
            raise CannotVerify(
                f"no service has states of {topic}, and something is made from it"
            )
        service, query = self._sources[topic]
        with TemporaryDirectory(prefix="marea-verify-") as folder:
            states = States(Path(folder), self._partitions)
            with read_rows(service, f"SELECT id, state::text FROM ({query}) AS states") as rows:
                states.keep(rows)
            yield states

    def _view_parts(self, view: View, states: States) -> Iterator[Part]:
        for partition in range(self._partitions):
            rows = self._views.rows(view.name, partition)
            actual = ((key, orjson.loads(row)) for key, row in rows)
            yield Part(partition, view.expected(states.of(partition)), actual)
            if view.indexes:
                yield self._index_part(view, states, partition)

    def _index_part(self, view: View, states: States, partition: int) -> Part:
        """The index entries as rows: each is there or not."""
        expected = (
            entry
            for key, row in view.expected(states.of(partition))
            for entry in entries_of(view.indexes, key, row)
        )
        actual = self._views.entries(view.name, partition)
        return Part(partition, map(_entry_row, expected), map(_entry_row, actual))

    def _table_parts(self, table: Table, states: States) -> Iterator[Part]:
        generation = live_generations(self._clickhouse, [table.name]).get(table.name)
        if generation is None:
            raise CannotVerify(f"ClickHouse has no table {table.name}: no worker has run yet")
        name = generation_table(table.name, generation)
        key = self._key(name)
        query = table.state_query
        if query:
            yield Part(0, _keyed(key, table.expected(states.every())), _keyed(key, self._select(query, name)))
            return
        rows = f"SELECT * EXCEPT ({', '.join(POSITION_COLUMNS)}) FROM {{table:Identifier}} FINAL"
        for partition in range(self._partitions):
            expected = table.expected(states.of(partition))
            yield Part(
                partition,
                _keyed(key, expected),
                _keyed(key, self._select(f"{rows} WHERE _partition = {partition}", name)),
            )

    def _key(self, table: str) -> list[str]:
        """The columns that name a row: what the table is sorted by, without its version, which changes, and times."""
        return [name for (name,) in self._clickhouse.query(_NAMING, {"table": table}).result_rows]

    def _select(self, query: str, table: str) -> Iterator[Row]:
        with self._clickhouse.query_row_block_stream(query, {"table": table}) as blocks:
            for block in blocks:
                yield from (dict(zip(blocks.source.column_names, row, strict=True)) for row in block)

    def _reaction_parts(self, reaction: Reaction, states: States) -> Iterator[Part]:
        with read_rows(reaction.service, reaction.effects) as rows:
            yield Part(0, reaction.expected(states.every()), ((key, orjson.loads(row)) for key, row in rows))


def _entry_row(entry: str) -> Keyed:
    index, *found = parts_of(entry)
    return f"index {orjson.dumps([index, *found]).decode()}", {"index": index}


def _keyed(columns: Iterable[str], rows: Iterable[Row]) -> Iterator[Keyed]:
    return (("/".join(str(row[column]) for column in columns), row) for row in rows)


def _sources() -> Mapping[str, tuple[str, str]]:
    """By topic: the service that owns its aggregates, and the query for their states."""
    return {topic: (each.name, query) for each in services() for topic, query in each.states.items()}
