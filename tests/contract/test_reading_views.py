"""What routes ask of views: one set of tests for Redis and for memory."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from uuid import uuid4

import orjson
import pytest
from redis.exceptions import ResponseError

from kernel import settings, token
from kernel.limits import MAX_NUMBER
from kernel.partition import partition_of
from kernel.refusals import Parked as IsParked
from kernel.refusals import Unavailable
from kernel.token import Version
from local.stack import Stack
from schemas.event import Topic
from streams.engine.consumer import Row, SortKey, View, consumer_id
from streams.engine.indexes import Range, entries_of
from streams.engine.reader import After, Views
from streams.engine.stores import LaneId, Parked, Write
from streams.engine.stores.redis import RedisStore, ask, live_key
from streams.engine.stores.redis import connect as connect_redis
from tests.events import START
from tests.memory_services import MemoryViews
from tests.stack.shop import eventually

PARTITIONS = 4


def by_n(row: Row) -> Iterator[SortKey]:
    yield row.get("group", ""), row["n"]


class Subject(NamedTuple):
    """A view with an index by `group` and `n`; `put` gives it rows of a partition, which it did not have before, `apply`
    a version of an aggregate with its row, and `park` an event of one.
    """

    view: str
    views: Views
    put: Callable[[int, dict[str, Row]], None]
    apply: Callable[[str, int], None]
    park: Callable[[str], None]


@pytest.fixture(params=["memory", "redis"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    topic, indexes = Topic[Any](""), {"n": by_n}
    view = View(f"contract-{uuid4()}", topic, lambda row, event: row, lambda states: iter(()), indexes=indexes)
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

    positions = [0] * PARTITIONS

    def write(partition: int, rows: dict[str, Row], **changes: Any) -> None:
        start, positions[partition] = positions[partition], positions[partition] + 1
        entries = {entry: True for key, row in rows.items() for entry in entries_of(indexes, key, row)}
        changed = Write(lanes[partition], start, start + 1, rows=dict(rows), entries=entries, **changes)
        assert store.apply([changed]) == {}

    yield Subject(
        view.name,
        Views(settings.redis_url(), PARTITIONS),
        write,
        lambda key, version: write(partition_of(key, PARTITIONS), {key: {"n": version}}, versions={key: version}),
        lambda key: write(partition_of(key, PARTITIONS), {}, parked=[Parked(0, key, 1, "gap", "", "", START)]),
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


def walked(subject: Subject, wanted: Range, limit: int) -> list[list[str]]:
    """The keys on each page."""
    pages, behind = [], None
    while True:
        page = subject.views.page(subject.view, wanted, limit, behind)
        pages.append([orjson.loads(row)["key"] for row in page.rows])
        if page.next is None:
            return pages
        behind = page.next


def test_pages_are_in_the_order_of_the_index_and_by_key_among_equals(subject: Subject) -> None:
    put(subject, a=3, b=1, c=1, d=0, e=7)
    all_of = Range("n", ("",))
    assert walked(subject, all_of, 2) == [["d", "b"], ["c", "a"], ["e"]]
    assert walked(subject, all_of._replace(descending=True), 3) == [["e", "a", "c"], ["b", "d"]]
    assert walked(subject, all_of, 5) == [["d", "b", "c", "a", "e"]]


def test_a_range_begins_at_its_lower_bound_and_ends_before_its_upper_one(subject: Subject) -> None:
    put(subject, a=0, b=1, c=2, d=9, e=10, f=MAX_NUMBER - 1, g=MAX_NUMBER)
    assert walked(subject, Range("n", ("",), low=1, high=10), 10) == [["b", "c", "d"]]
    assert walked(subject, Range("n", ("",), low=1, high=10, descending=True), 2) == [["d", "c"], ["b"]]
    assert walked(subject, Range("n", ("",), low=MAX_NUMBER - 1, high=MAX_NUMBER), 10) == [["f"]]
    assert walked(subject, Range("n", ("",), low=3, high=3), 10) == [[]]
    assert walked(subject, Range("n", ("other",)), 10) == [[]]


def test_what_is_added_between_two_pages_moves_nothing_that_is_there(subject: Subject) -> None:
    put(subject, a=10, b=20, c=30, d=40)
    first = subject.views.page(subject.view, Range("n", ("",)), 2)
    put(subject, e=5, f=15, g=35)
    second = subject.views.page(subject.view, Range("n", ("",)), 5, first.next)
    keys = [[orjson.loads(row)["key"] for row in page.rows] for page in (first, second)]
    assert keys == [["a", "b"], ["c", "g", "d"]]


def test_a_row_is_found_in_the_partition_of_its_entry(subject: Subject) -> None:
    """Also for a view whose key is not the aggregate's id."""
    for partition, key in enumerate("aaab"):
        subject.put(partition, {key: {"n": partition, "key": f"{key}{partition}"}})
    assert walked(subject, Range("n", ("",)), 10) == [["a0", "a1", "a2", "b3"]]


def after(version: int, wait_s: float = 0.0) -> After:
    return After([Version("topic", "a", version)], wait_s)


def test_a_read_sees_the_version_that_it_has_to_see_or_is_refused(subject: Subject) -> None:
    with pytest.raises(Unavailable):
        subject.views.get(subject.view, "a", after(1))
    subject.apply("a", 1)
    subject.apply("b", 1)
    assert subject.views.get(subject.view, "a", after(1))
    with pytest.raises(Unavailable):
        subject.views.get(subject.view, "b", after(2))
    assert subject.views.page(subject.view, Range("n", ("",)), 10, after=after(1)).rows
    with pytest.raises(Unavailable):
        subject.views.page(subject.view, Range("n", ("",)), 10, after=after(2))
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
def test_a_read_of_what_is_parked_is_refused_though_the_last_of_its_partition_is_there(subject: Subject) -> None:
    other = next(key for key in map(str, range(1_000)) if partition_of(key, PARTITIONS) == partition_of("a", PARTITIONS))
    subject.park("a")
    subject.apply(other, 1)
    token = After([Version("topic", other, 1)])
    assert subject.views.get(subject.view, other, token)
    with pytest.raises(IsParked):
        subject.views.get(subject.view, "a", token)
    assert subject.views.get(subject.view, "a") is None, "who brings no token gets what there is"


@pytest.mark.parametrize("subject", ["redis"], indirect=True)
def test_a_read_waits_for_what_is_on_its_way(subject: Subject) -> None:
    def waits() -> bytes | None:
        try:
            return subject.views.get(subject.view, "a", after(1, wait_s=60))
        except Unavailable:
            return None  # one may wait, and `is_full` takes the place for a moment, too

    def is_full() -> bool:
        with pytest.raises(Unavailable) as refused:
            subject.views.get(subject.view, "a", after(1))
        return "Too many" in str(refused.value)

    with ThreadPoolExecutor() as pool:
        reading = pool.submit(eventually, waits)
        eventually(is_full)
        subject.apply("a", 1)
        assert reading.result(60) == b'{"n":1}'
    assert subject.views.get(subject.view, "a", after(1)) == b'{"n":1}'


def test_a_token_names_the_last_version_of_each_partition(subject: Subject) -> None:
    keys = ["a", "b", "c", "d", "e", "f", "g", "h"]
    last = {partition_of(key, PARTITIONS): key for key in keys}
    versions = token.decode(subject.views.token(Version("topic", key, 7) for key in keys))
    assert sorted(versions) == sorted(Version("topic", key, 7) for key in last.values())


@pytest.mark.parametrize("subject", ["redis"], indirect=True)
def test_a_page_over_a_switch_shows_rows_of_the_generation_whose_entries_it_has_read(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The generation that is shown next has not made its rows yet."""
    put(subject, a=1, b=2)
    client, read = connect_redis(settings.redis_url()), subject.views._rows_of  # noqa: SLF001  # between its two reads

    def switch(*arguments: Any) -> list[bytes]:
        client.set(live_key(subject.view), 2)
        return read(*arguments)

    monkeypatch.setattr(subject.views, "_rows_of", switch)
    page = subject.views.page(subject.view, Range("n"), 1)
    assert (page.rows, page.next) == ([], None), "as the next generation has it: nothing yet, and no page behind it"


@pytest.mark.parametrize("subject", ["redis"], indirect=True)
def test_what_is_parked_is_looked_through_once_a_second_and_not_with_every_look(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject.park("a")
    other = next(key for key in map(str, range(1_000)) if partition_of(key, PARTITIONS) == partition_of("a", PARTITIONS))
    looked: list[Any] = []
    check = subject.views._check_parked  # noqa: SLF001  # how often

    def look(*arguments: Any) -> None:
        looked.append(arguments)
        check(*arguments)

    monkeypatch.setattr(subject.views, "_check_parked", look)
    with pytest.raises(Unavailable):
        subject.views.get(subject.view, other, After([Version("topic", other, 1)], wait_s=0.5))
    assert len(looked) == 1


@pytest.mark.usefixtures("stack")
def test_what_redis_refuses_leaves_no_answer_to_whoever_asks_next() -> None:
    client, key = connect_redis(settings.redis_url()), f"contract-{uuid4()}"
    client.set(key, "text")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        ask(client, [("HGET", key, "field"), ("GET", key)])
    assert ask(client, [("STRLEN", key), ("GET", key)]) == [4, b"text"]
    client.delete(key)


@pytest.mark.usefixtures("stack")
def test_a_connection_that_redis_has_ended_is_made_anew() -> None:
    client = connect_redis(settings.redis_url())
    [mine] = ask(client, [("CLIENT", "ID")])
    connect_redis(settings.redis_url()).client_kill_filter(_id=mine)
    [anew] = ask(client, [("CLIENT", "ID")])
    assert anew != mine
