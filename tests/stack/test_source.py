"""Every record of a topic once and in order, whatever becomes of sinks and partitions meanwhile; with a real broker."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from tenacity import AsyncRetrying, wait_fixed

from api.services import views
from kernel import settings
from schemas.event import Topic
from streams.engine import source
from streams.engine.batch import Batch, Place, Record
from streams.engine.feed import Feed
from streams.engine.pace import Pace
from streams.engine.source import Source
from streams.engine.stores import LaneId, Progress, Write
from streams.engine.turn import Turn
from tests.events import CODEC
from tests.memory_store import MemoryStore
from tests.stack.shop import eventually

pytestmark = pytest.mark.usefixtures("stack")

PARTITIONS = (0, 1)
LANES = [LaneId("view.order", partition) for partition in PARTITIONS]


class Sink(MemoryStore):
    """A store that refuses writes until `up` is set, and everything while `away` is.

    The records of these tests are no events: all are parked.
    """

    def __init__(self, shared: MemoryStore) -> None:
        super().__init__()
        self.__dict__.update(vars(shared))  # what is stored is the group's; whether it is up, each worker's own
        self.up, self.away = Event(), Event()
        self.refused = 0

    def progress(self, lanes: Sequence[LaneId]) -> dict[LaneId, Progress]:
        if self.away.is_set():
            raise ConnectionError
        return super().progress(lanes)

    def apply(self, writes: Sequence[Write]) -> dict[LaneId, Exception]:
        if not self.up.is_set():
            self.refused += 1
            raise ConnectionError
        return super().apply(writes)


class Registry:
    """Whatever is needed to read records: so many batches are read, then one fails, as when the registry is away."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def ask(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise ConnectionError


class ReadingFeed(Feed):
    """A feed that asks a registry before it reads a batch, and notes how many records and bytes come at once."""

    registry: Registry | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sizes: list[tuple[int, int]] = []

    def batch(self, place: Place, start: int, records: Sequence[Record]) -> Batch:
        if self.registry:
            self.registry.ask()
        return super().batch(place, start, records)

    def handle(self, batches: Sequence[Batch]) -> None:
        items = [item for batch in batches for item in batch.items]
        self.sizes.append((len(items), sum(item.size for item in items)))
        super().handle(batches)


class Worker:
    """Reads a topic for a view, whose store refuses everything until it is up. A source that has ended is opened anew."""

    def __init__(self, topic: str, shared: MemoryStore, registry: Registry | None = None) -> None:
        self.sink = Sink(shared)
        self.ends: list[Exception] = []
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._thread.start()
        self.feed = ReadingFeed(topic, [replace(views()["order"], topic=Topic(topic))], self.sink, CODEC)
        self.feed.registry = registry
        self._open()

    @property
    def mine(self) -> set[Place]:
        """The partitions that it reads now."""
        return set(self.feed.positions())

    def close(self) -> None:
        self._source.stop()
        self._source.join(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _open(self) -> None:
        self._source = Source(settings.kafka(), self.feed, Pace(records=100, bytes=1_000_000), self._offer)
        self._source.start(self._ended)

    def _ended(self, error: Exception | None) -> None:
        if error:
            self.ends.append(error)
            self._open()

    def _offer(self, turn: Turn) -> None:
        asyncio.run_coroutine_threadsafe(self._take(turn), self._loop)

    async def _take(self, turn: Turn) -> None:
        async for attempt in AsyncRetrying(wait=wait_fixed(0.01)):
            with attempt:
                await turn.take()


@pytest.fixture
def topic() -> Iterator[str]:
    admin = AdminClient({"bootstrap.servers": settings.kafka()})
    name = f"test-source-{uuid4()}"
    for created in admin.create_topics([NewTopic(name, len(PARTITIONS), 1)]).values():
        created.result(timeout=30)
    yield name
    for deleted in admin.delete_topics([name]).values():
        deleted.result(timeout=30)


@pytest.fixture
def write(topic: str) -> Callable[[int], None]:
    """Writes so many records to each partition."""
    producer = Producer({"bootstrap.servers": settings.kafka()})

    def write(records: int) -> None:
        for _ in range(records):
            for partition in PARTITIONS:
                producer.produce(topic, b"", key=uuid4().hex, partition=partition)
        assert producer.flush(30) == 0

    return write


def has_everything(store: MemoryStore, records: int) -> bool:
    """Whether each partition has each offset once, and no other."""
    return all(
        store.positions_by_lane.get(lane) == records and [*store.parked_events[lane]] == [*range(records)] for lane in LANES
    )


def test_what_comes_while_a_sink_is_down_is_read_again(
    topic: str, write: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "PATIENCE_S", 0.02)
    store = MemoryStore()
    write(10)
    with closing(Worker(topic, store)) as worker:
        eventually(lambda: worker.sink.refused)
        write(500)
        soon = worker.sink.refused + 50  # each time another record may come and be thrown away
        eventually(lambda: worker.sink.refused > soon)
        assert not worker.feed.has_detached, "a sink that is down detaches nobody"
        worker.sink.up.set()
        eventually(lambda: has_everything(store, 510))


def test_a_partition_that_went_to_another_worker_while_a_sink_was_down_is_read_when_it_comes_back(
    topic: str, write: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "PATIENCE_S", 0.02)
    store = MemoryStore()
    write(10)
    with closing(Worker(topic, store)) as worker:
        eventually(lambda: worker.sink.refused and len(worker.mine) == 2)
        with closing(Worker(topic, store)) as other:
            other.sink.up.set()
            eventually(lambda: len(worker.mine) == len(other.mine) == 1)
            worker.sink.up.set()
            eventually(lambda: has_everything(store, 10))
        eventually(lambda: len(worker.mine) == 2)
        write(10)
        eventually(lambda: has_everything(store, 20))


@pytest.mark.parametrize("batches", [1, 3, 10])
def test_what_was_read_and_could_not_be_decoded_is_read_again(
    topic: str, write: Callable[[int], None], batches: int
) -> None:
    """The registry is away in the middle of a turn: of two partitions one may have been handed over."""
    store = MemoryStore()
    write(1_000)
    registry = Registry(batches)
    with closing(Worker(topic, store, registry)) as worker:
        worker.sink.up.set()
        eventually(lambda: has_everything(store, 1_000))
        assert [type(error) for error in worker.ends] == [ConnectionError]


def test_partitions_that_come_while_their_sink_is_down_are_read_once_it_is_up(
    topic: str, write: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their positions are not known then: nothing may be read that nobody would apply."""
    monkeypatch.setattr(source, "PATIENCE_S", 0.02)
    store = MemoryStore()
    write(10)
    with closing(Worker(topic, store)) as worker:
        with closing(Worker(topic, store)) as other:
            eventually(lambda: len(worker.mine) == len(other.mine) == 1)
            worker.sink.up.set()
            worker.sink.away.set()
        eventually(lambda: worker.ends)
        worker.sink.away.clear()
        write(10)
        eventually(lambda: has_everything(store, 20))


def test_a_lane_that_is_far_behind_catches_up_beside_the_others_and_is_taken_back(
    topic: str, write: Callable[[int], None]
) -> None:
    """As a view that is new, or whose code failed for a while."""
    store = MemoryStore()
    write(2_500)
    with closing(Worker(topic, store)) as worker:
        worker.sink.up.set()
        eventually(lambda: has_everything(store, 2_500))
    # It has lost one partition, and the other consumer of the feed has it.
    newer = replace(views()["customer_orders"], topic=Topic(topic))
    with closing(Worker(topic, store)) as worker:
        worker.feed._consumers[topic].append(newer)  # noqa: SLF001  # before the first partition is assigned
        worker.sink.up.set()
        lanes = [LaneId("view.customer_orders", partition) for partition in PARTITIONS]
        eventually(lambda: all(store.positions_by_lane.get(lane) == 2_500 for lane in lanes))
        eventually(lambda: not worker.feed.has_detached)
        write(10)
        eventually(lambda: all(store.positions_by_lane[lane] == 2_510 for lane in [*lanes, *LANES]))


@pytest.mark.parametrize(("position", "leader_epoch"), [(1_000, -1), (5, 7)], ids=["shorter", "gone back and grown"])
def test_a_topic_whose_history_is_not_that_of_a_position_stands_still_and_says_so_and_its_neighbour_goes_on(
    topic: str,
    write: Callable[[int], None],
    caplog: pytest.LogCaptureFixture,
    position: int,
    leader_epoch: int,
) -> None:
    """As after a topic was restored from an older copy: nothing is read past silently."""
    store = MemoryStore()
    store.positions_by_lane[LANES[0]], store.epochs[LANES[0]] = position, leader_epoch
    write(10)
    with closing(Worker(topic, store)) as worker:
        worker.sink.up.set()
        eventually(lambda: store.positions_by_lane.get(LANES[1]) == 10)
        eventually(lambda: "restore the topic, or rebuild the consumer" in caplog.text)
        write(10)
        eventually(lambda: store.positions_by_lane.get(LANES[1]) == 20)
    assert store.positions_by_lane[LANES[0]] == position


def test_a_batch_is_bounded_in_records_and_in_bytes(topic: str) -> None:
    """However much has gathered, and however large it is."""
    producer = Producer({"bootstrap.servers": settings.kafka()})
    for size in (10,) * 1_000 + (200_000,) * 60:
        producer.produce(topic, bytes(size), key=uuid4().hex, partition=0)
    assert producer.flush(30) == 0
    store = MemoryStore()
    with closing(Worker(topic, store)) as worker:
        worker.sink.up.set()
        eventually(lambda: store.positions_by_lane.get(LANES[0]) == 1_060)
        sizes = worker.feed.sizes
    assert max(records for records, _ in sizes) <= 100
    assert max(size for _, size in sizes) <= 1_000_000 + 200_000 * 10
