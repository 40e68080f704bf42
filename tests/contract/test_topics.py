"""What streams ask of whatever reads topics: one set of tests for Kafka and for memory."""

from collections.abc import Callable, Iterator
from contextlib import closing
from time import monotonic
from typing import NamedTuple
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from api.broadcast.reader import MOST_RECORDS, Bounds, PositionLost, Reader
from api.broadcast.tail import Source
from kernel import settings
from kernel.kafka import admin_client
from kernel.partition import partition_of
from local.stack import Stack
from schemas.event import Event, Topic
from streams.engine.batch import Place, Record
from tests.events import life, record
from tests.memory_topics import PARTITIONS, MemoryTopics
from tests.stack.shop import eventually

[EVENT, *_] = life("marea.stock")
KEYS = [f"sku-{number}" for number in range(12)]


class Subject(NamedTuple):
    """An empty topic, how one publishes there, and one who reads."""

    topic: Topic[Event]
    publish: Callable[[Event], None]
    source: Source


@pytest.fixture(params=["memory", "kafka"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    topic: Topic[Event] = Topic(f"contract-{uuid4()}")
    if request.param == "memory":
        topics = MemoryTopics()
        yield Subject(topic, lambda event: topics.publish(topic, event), topics.source())
        return
    stack: Stack = request.getfixturevalue("stack")
    assert stack
    admin = admin_client(settings.kafka())
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(timeout=30)
    producer = Producer({"bootstrap.servers": settings.kafka()})

    def publish(event: Event) -> None:
        told = record(0, event)
        partition = partition_of(event.key, PARTITIONS)
        producer.produce(topic, told.value, told.key, partition, headers=told.headers)
        assert producer.flush(30) == 0

    with closing(Reader(settings.kafka())) as reader:
        yield Subject(topic, publish, reader)
    admin = admin_client(settings.kafka())
    admin.delete_topics([topic])[topic].result(timeout=30)


def publish(subject: Subject, count: int) -> None:
    for number in range(count):
        subject.publish(EVENT._replace(key=KEYS[number % len(KEYS)], version=number + 1))


def places(subject: Subject) -> dict[Place, int]:
    return {Place(subject.topic, number): 0 for number in range(PARTITIONS)}


def read(subject: Subject, count: int) -> list[tuple[Place, Record]]:
    found: list[tuple[Place, Record]] = []

    def more() -> bool:
        found.extend(subject.source.read(0.5))
        return len(found) >= count

    eventually(more)
    return found


def versions(found: list[tuple[Place, Record]]) -> dict[bytes | None, list[int]]:
    """By key, in the order in which they came."""
    by_key: dict[bytes | None, list[int]] = {}
    for _, each in found:
        by_key.setdefault(each.key, []).append(int(dict(each.headers)["version"]))
    return by_key


def test_a_topic_has_bounds(subject: Subject) -> None:
    publish(subject, 5)
    bounds = subject.source.bounds(subject.topic, PARTITIONS)
    assert [each.first for each in bounds] == [0] * PARTITIONS
    assert sum(each.end for each in bounds) == 5
    assert bounds[partition_of(KEYS[0], PARTITIONS)] != Bounds(0, 0)


def test_every_record_comes_once_and_in_order(subject: Subject) -> None:
    publish(subject, 60)
    subject.source.seek(places(subject))
    found = read(subject, 60)
    publish(subject, 12)
    found += read(subject, 12)
    assert len(found) == 72
    expected = {key.encode(): [*range(number + 1, 61, len(KEYS)), number + 1] for number, key in enumerate(KEYS)}
    assert versions(found) == expected


def test_reading_goes_on_where_it_is_told_and_nowhere_else(subject: Subject) -> None:
    publish(subject, 60)
    subject.source.seek(places(subject))
    found = read(subject, 60)
    place = Place(subject.topic, partition_of(KEYS[0], PARTITIONS))
    mine = [each for at, each in found if at == place]
    subject.source.seek({place: 2})
    assert [each.offset for _, each in read(subject, len(mine) - 2)] == list(range(2, len(mine)))
    subject.source.seek({place: len(mine) - 1})
    assert [at for at, _ in read(subject, 1)] == [place]


def test_what_is_read_at_once_is_bounded(subject: Subject) -> None:
    publish(subject, MOST_RECORDS + 50)
    subject.source.seek(places(subject))
    found: list[int] = []

    def more() -> bool:
        found.append(len(subject.source.read(0.5)))
        return sum(found) == MOST_RECORDS + 50

    eventually(more)
    assert max(found) <= MOST_RECORDS


def test_nothing_comes_when_nothing_happens_and_nobody_waits_longer_than_wanted(subject: Subject) -> None:
    subject.source.seek(places(subject))
    began = monotonic()
    assert subject.source.read(0.3) == []
    assert monotonic() - began < 2


def test_a_position_that_the_topic_does_not_have_is_said(subject: Subject) -> None:
    publish(subject, 1)
    subject.source.seek({Place(subject.topic, partition_of(KEYS[0], PARTITIONS)): 7})

    def lost() -> bool:
        with pytest.raises(PositionLost, match="does not have"):
            read(subject, 1)
        return True

    assert lost()
