"""What routes ask of views: one set of tests for Redis and for memory."""

from collections.abc import Callable, Iterator
from typing import NamedTuple
from uuid import uuid4

import orjson
import pytest

from kernel import settings
from kernel.partition import partition_of
from local.stack import Stack
from schemas.event import Topic
from streams.engine.consumer import Row, View, consumer_id
from streams.engine.reader import Views
from streams.engine.stores import LaneId, Write
from streams.engine.stores.redis import RedisStore
from streams.engine.stores.redis import connect as connect_redis
from tests.memory_services import MemoryViews

PARTITIONS = 4


class Subject(NamedTuple):
    """A view with a rank, `n`; `put` gives it a partition's first rows."""

    view: str
    views: Views
    put: Callable[[int, dict[str, Row]], None]


@pytest.fixture(params=["memory", "redis"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    view = View(f"contract-{uuid4()}", Topic(""), lambda row, event: row, lambda states: iter(()), rank="n")
    if request.param == "memory":
        memory = MemoryViews([view], PARTITIONS)
        yield Subject(view.name, memory, lambda partition, rows: memory.put(view.name, partition, dict(rows)))
        return
    stack: Stack = request.getfixturevalue("stack")
    assert stack
    client = connect_redis(settings.redis_url())
    store = RedisStore(client, [view])
    lanes = [LaneId(consumer_id(view), partition) for partition in range(PARTITIONS)]
    store.progress(lanes)

    def put(partition: int, rows: dict[str, Row]) -> None:
        assert store.apply([Write(lanes[partition], 0, 1, rows=dict(rows))]) == {}

    yield Subject(view.name, Views(settings.redis_url(), PARTITIONS), put)
    client.delete(*client.scan_iter(f"*{view.name}*"))


def put(subject: Subject, **rows: int) -> None:
    """Rows by key, each with its number, where readers look for them."""
    for partition in range(PARTITIONS):
        mine = {key: {"n": n, "key": key} for key, n in rows.items() if partition_of(key, PARTITIONS) == partition}
        subject.put(partition, mine)


def test_a_row_is_found_by_its_key_and_a_missing_one_is_none(subject: Subject) -> None:
    put(subject, a=1, b=2, c=3)
    assert subject.views.get(subject.view, "b") == b'{"n":2,"key":"b"}'
    assert subject.views.get(subject.view, "d") is None
    assert subject.views.many(subject.view, ["c", "d", "a"]) == [
        b'{"n":3,"key":"c"}',
        None,
        b'{"n":1,"key":"a"}',
    ]
    assert subject.views.many(subject.view, []) == []


def test_the_parts_of_a_key_are_those_of_all_partitions(subject: Subject) -> None:
    subject.put(1, {"ada": {"n": 1}, "bob": {"n": 0}})
    subject.put(3, {"ada": {"n": 3}})
    assert sorted(map(orjson.loads, subject.views.parts(subject.view, "ada")), key=lambda row: int(row["n"])) == [
        {"n": 1},
        {"n": 3},
    ]
    assert subject.views.parts(subject.view, "eve") == []


def test_the_rows_below_a_number_come_lowest_first_and_by_key_among_equals(subject: Subject) -> None:
    put(subject, a=3, b=1, c=1, d=-2, e=7)
    found = [orjson.loads(row)["n"] for row in subject.views.below(subject.view, 7, 10)]
    assert found == [-2, 1, 1, 3]
    assert subject.views.below(subject.view, 7, 2) == subject.views.many(subject.view, ["d", "b"])
    assert subject.views.below(subject.view, -2, 10) == []
