"""What routes ask of views: one set of tests for Redis and for memory."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from uuid import uuid4

import orjson
import pytest

from kernel import settings, token
from kernel.partition import partition_of
from kernel.refusals import Parked as IsParked
from kernel.refusals import Unavailable
from kernel.token import Version
from local.stack import Stack
from schemas.event import Topic
from streams.engine.consumer import Row, View, consumer_id
from streams.engine.reader import After, Views
from streams.engine.stores import LaneId, Parked, Write
from streams.engine.stores.redis import RedisStore
from streams.engine.stores.redis import connect as connect_redis
from tests.events import START
from tests.memory_services import MemoryViews
from tests.stack.shop import eventually

PARTITIONS = 4


class Subject(NamedTuple):
    """A view with a rank, `n`; `put` gives it a partition's first rows, `apply` a version of an aggregate with its row,
    and `park` an event of one.
    """

    view: str
    views: Views
    put: Callable[[int, dict[str, Row]], None]
    apply: Callable[[str, int], None]
    park: Callable[[str], None]


@pytest.fixture(params=["memory", "redis"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    view = View(f"contract-{uuid4()}", Topic(""), lambda row, event: row, lambda states: iter(()), rank="n")
    if request.param == "memory":
        memory = MemoryViews([view], PARTITIONS)
        yield Subject(
            view.name,
            memory,
            lambda partition, rows: memory.put(view.name, partition, dict(rows)),
            lambda key, version: memory.put(view.name, partition_of(key, PARTITIONS), {key: {"n": version}}, {key: version}),
            lambda key: memory.parked.add((view.name, key)),
        )
        return
    stack: Stack = request.getfixturevalue("stack")
    assert stack
    client = connect_redis(settings.redis_url())
    store = RedisStore(client, [view])
    lanes = [LaneId(consumer_id(view), partition) for partition in range(PARTITIONS)]
    store.progress(lanes)

    def put(partition: int, rows: dict[str, Row]) -> None:
        assert store.apply([Write(lanes[partition], 0, 1, rows=dict(rows))]) == {}

    positions = [0] * PARTITIONS

    def write(key: str, **changes: Any) -> None:
        partition = partition_of(key, PARTITIONS)
        start, positions[partition] = positions[partition], positions[partition] + 1
        assert store.apply([Write(lanes[partition], start, start + 1, **changes)]) == {}

    yield Subject(
        view.name,
        Views(settings.redis_url(), PARTITIONS),
        put,
        lambda key, version: write(key, rows={key: {"n": version}}, versions={key: version}),
        lambda key: write(key, parked=[Parked(0, key, 1, "gap", "", "", START)]),
    )
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


def after(version: int, wait_s: float = 0.0) -> After:
    return After([Version("topic", "a", version)], wait_s)


def test_a_read_sees_the_version_that_it_has_to_see_or_is_refused(subject: Subject) -> None:
    with pytest.raises(Unavailable):
        subject.views.get(subject.view, "a", after(1))
    subject.apply("a", 1)
    subject.apply("b", 1)
    for read in (subject.views.get, subject.views.parts):
        assert read(subject.view, "a", after(1))
        with pytest.raises(Unavailable):
            read(subject.view, "b", after(2))
    assert subject.views.below(subject.view, 2, 10, after(1))
    with pytest.raises(Unavailable):
        subject.views.below(subject.view, 2, 10, after(2))
    subject.apply("a", 3)
    assert subject.views.get(subject.view, "a", after(2)) == b'{"n":3}'


def test_what_is_parked_is_not_waited_for(subject: Subject) -> None:
    subject.park("a")
    with pytest.raises(IsParked):
        subject.views.get(subject.view, "a", after(1, wait_s=60))
    with pytest.raises(Unavailable) as refused:
        subject.views.get(subject.view, "b", After([Version("topic", "b", 1)]))
    assert not isinstance(refused.value, IsParked)


@pytest.mark.parametrize("subject", ["redis"], indirect=True)
def test_a_read_waits_for_what_is_on_its_way(subject: Subject) -> None:
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(subject.views.get, subject.view, "a", after(1, wait_s=60))
        with pytest.raises(Unavailable, match="Too many"):  # one may wait, and it does now
            eventually(lambda: subject.views.get(subject.view, "a", after(1)))
        subject.apply("a", 1)
        assert reading.result(60) == b'{"n":1}'
    assert subject.views.get(subject.view, "a", after(1)) == b'{"n":1}'


def test_a_token_names_the_last_version_of_each_partition(subject: Subject) -> None:
    keys = ["a", "b", "c", "d", "e", "f", "g", "h"]
    last = {partition_of(key, PARTITIONS): key for key in keys}
    versions = token.decode(subject.views.token(Version("topic", key, 7) for key in keys))
    assert sorted(versions) == sorted(Version("topic", key, 7) for key in last.values())
