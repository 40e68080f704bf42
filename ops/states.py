"""What services have in their tables, as `verify` reads it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import orjson
import psycopg2

from kernel.partition import partition_of
from ops.databases import admin_url, database_of
from streams.engine.consumer import Row

Keyed = tuple[str, Row]


class CannotVerify(Exception):
    """Something that must be compared can't be; the text says why."""


class Part(NamedTuple):
    """What is compared at once; both sides are read once. Of a key that comes twice, the last row counts."""

    partition: int
    expected: Iterable[Keyed]
    actual: Iterable[Keyed]


class States:
    """The state of every aggregate of a topic, by partition: in files, for they are read several times."""

    def __init__(self, folder: Path, partitions: int) -> None:
        folder.mkdir(exist_ok=True)
        self._paths = [folder / str(partition) for partition in range(partitions)]

    def keep(self, states: Iterable[tuple[str, str]]) -> None:
        """Takes ids and states as JSON."""
        files = [path.open("w") for path in self._paths]
        for aggregate_id, state in states:
            files[partition_of(aggregate_id, len(files))].write(state + "\n")
        for file in files:
            file.close()

    def of(self, partition: int) -> Iterator[Row]:
        """The states of one partition's aggregates, in the order in which they were taken."""
        with self._paths[partition].open("rb") as lines:
            yield from map(orjson.loads, lines)

    def every(self) -> Iterator[Row]:
        """The states of all partitions."""
        return chain.from_iterable(self.of(partition) for partition in range(len(self._paths)))


@contextmanager
def read_rows(service: str, query: str) -> Iterator[Iterator[tuple[str, str]]]:
    """A query's rows from one snapshot of a service's schema, read as they are needed."""
    connection = psycopg2.connect(admin_url(database_of(service)), options=f"-c search_path={service}")
    try:
        with connection.cursor("verify") as cursor:
            cursor.itersize = 5_000
            cursor.execute(query)
            yield iter(cursor)
    finally:
        connection.close()
