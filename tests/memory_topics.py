"""Topics in memory, for tests without Kafka. They pass the contract tests that a Reader passes: tests/contract/test_topics.py."""

from collections import defaultdict
from collections.abc import Mapping
from threading import Condition

from api.broadcast.reader import MOST_RECORDS, Bounds, PositionLost
from kernel.partition import partition_of
from schemas.event import Event, Topic
from streams.engine.batch import Place, Record
from tests.events import record

PARTITIONS = 4


class MemoryTopics:
    """Where events are kept for ever. All that read them fail while `is_down`."""

    def __init__(self) -> None:
        self.records: defaultdict[Place, list[Record]] = defaultdict(list)
        self.changed = Condition()
        self.is_down = False
        self.opened = 0

    def publish(self, topic: Topic, event: Event, value: bytes | None = None) -> None:
        """Like the relay."""
        with self.changed:
            records = self.records[Place(topic, partition_of(event.key, PARTITIONS))]
            records.append(record(len(records), event, value))
            self.changed.notify_all()

    def source(self) -> "MemorySource":
        """One more that reads."""
        self.opened += 1
        return MemorySource(self)


class MemorySource:
    """Reads topics in memory."""

    def __init__(self, topics: MemoryTopics) -> None:
        self._topics = topics
        self._next: dict[Place, int] = {}
        self.is_heard = True  # what is in memory always answers, or fails

    def bounds(self, topic: str, partitions: int) -> list[Bounds]:
        self._check()
        return [Bounds(0, len(self._topics.records[Place(topic, number)])) for number in range(partitions)]

    def seek(self, positions: Mapping[Place, int]) -> None:
        self._next = dict(positions)

    def read(self, wait_s: float) -> list[tuple[Place, Record]]:
        with self._topics.changed:
            self._topics.changed.wait_for(self._has_more, wait_s)
        self._check()
        found: list[tuple[Place, Record]] = []
        for place, position in self._next.items():
            records = self._topics.records[place]
            if position > len(records):
                raise PositionLost(f"{place} does not have position {position}")
            found += [(place, each) for each in records[position:]]
        found = found[:MOST_RECORDS]
        self._next.update((place, each.offset + 1) for place, each in found)
        return found

    def close(self) -> None:
        """Nothing is left open."""

    def _has_more(self) -> bool:
        return any(position != len(self._topics.records[place]) for place, position in self._next.items())

    def _check(self) -> None:
        if self._topics.is_down:
            raise ConnectionError("the topics are away")
