"""Every record of a topic once and in order, whatever becomes of sinks and partitions meanwhile; with a real broker."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from threading import Event, Thread
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from tenacity import AsyncRetrying, wait_fixed

from kernel import settings
from streams.engine import source
from streams.engine.batch import Batch
from streams.engine.source import Offer, Source
from tests.stack.shop import eventually

pytestmark = pytest.mark.usefixtures("stack")

PARTITIONS = (0, 1)


class Sink:
    """What has been applied, by partition; shared by the workers of a group, as a store is."""

    def __init__(self) -> None:
        self.offsets: dict[int, list[int]] = {partition: [] for partition in PARTITIONS}

    def apply(self, batch: Batch) -> dict[int, int]:
        position = len(self.offsets[batch.partition])
        if batch.start > position:
            return {batch.partition: position}
        self.offsets[batch.partition] += [r.offset for r in batch.records if r.offset >= position]
        return {}


class Worker:
    """Reads a topic into a sink, which refuses everything until `up` is set."""

    def __init__(self, topic: str, sink: Sink) -> None:
        self.up = Event()
        self.refused = 0
        self.mine: set[int] = set()
        self._sink = sink
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._thread.start()
        self._source = Source(settings.kafka(), topic, topic, self)
        self._source.start(lambda error: None)

    def close(self) -> None:
        self._source.stop()
        self._source.join(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def assign(self, partitions: Sequence[int]) -> Mapping[int, int]:
        self.mine |= set(partitions)
        return {partition: len(self._sink.offsets[partition]) for partition in partitions}

    def revoke(self, partitions: Sequence[int]) -> None:
        self.mine -= set(partitions)

    def offer(self, offer: Offer) -> None:
        asyncio.run_coroutine_threadsafe(self._take(offer), self._loop)

    async def _take(self, offer: Offer) -> None:
        async for attempt in AsyncRetrying(wait=wait_fixed(0.01)):
            with attempt:
                await offer.apply()

    def apply(self, batches: Sequence[Batch]) -> Mapping[int, int]:
        if not self.up.is_set():
            self.refused += 1
            raise ConnectionError
        again: dict[int, int] = {}
        for batch in batches:
            if batch.partition in self.mine:
                again |= self._sink.apply(batch)
        return again

    def recheck(self) -> Mapping[int, int]:
        return {}

    def positions(self) -> Mapping[int, int]:
        return {partition: len(self._sink.offsets[partition]) for partition in self.mine}


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
                producer.produce(topic, b"", partition=partition)
        assert producer.flush(30) == 0

    return write


def everything(records: int) -> dict[int, list[int]]:
    return {partition: list(range(records)) for partition in PARTITIONS}


def test_what_comes_while_a_sink_is_down_is_read_again(
    topic: str, write: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "PATIENCE_S", 0.02)
    sink = Sink()
    write(10)
    with closing(Worker(topic, sink)) as worker:
        eventually(lambda: worker.refused)
        write(500)
        soon = worker.refused + 50  # each time another record may come and be thrown away
        eventually(lambda: worker.refused > soon)
        worker.up.set()
        eventually(lambda: sum(map(len, sink.offsets.values())) >= 510 * len(PARTITIONS))
        assert sink.offsets == everything(510)


def test_a_partition_that_went_to_another_worker_while_a_sink_was_down_is_read_when_it_comes_back(
    topic: str, write: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "PATIENCE_S", 0.02)
    sink = Sink()
    write(10)
    with closing(Worker(topic, sink)) as worker:
        eventually(lambda: worker.refused and worker.mine == {*PARTITIONS})
        with closing(Worker(topic, sink)) as other:
            other.up.set()
            eventually(lambda: len(worker.mine) == len(other.mine) == 1)
            worker.up.set()
            eventually(lambda: sink.offsets == everything(10))
        eventually(lambda: worker.mine == {*PARTITIONS})
        write(10)
        eventually(lambda: sum(map(len, sink.offsets.values())) >= 20 * len(PARTITIONS))
        assert sink.offsets == everything(20)
