"""One Kafka client that reads topics from given positions."""

import logging
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.engine.batch import Place, Record
from streams.engine.client import Hearing, client_config, from_position, place_of, record_of

log = logging.getLogger(__name__)

#: Records that are read at once, at most.
MOST_RECORDS = 500
#: Seconds that the broker may take to say where a topic begins and ends, and between questions whether it is there.
_TIMEOUT_S, _ASK_S = 5.0, 5.0


#: Some records at a time: each question costs the broker as much as a record does, and those who listen can wait so long.
_FETCH = {"fetch.min.bytes": 65_536, "fetch.wait.max.ms": 50}


class Bounds(NamedTuple):
    """The offsets of a partition's first record, and of the one after its last."""

    first: int
    end: int


class PositionLost(Exception):
    """A topic does not have the position that is to be read: its log has gone back, or never had it."""


class Reader:
    """Reads what it was last told to. Not to be shared by threads."""

    def __init__(self, kafka: str) -> None:
        # The group is only a name that librdkafka asks for: nothing is subscribed or committed.
        config = {**client_config(kafka, "marea.streams"), "queued.max.messages.kbytes": 1_024, **_FETCH}
        self._client = Consumer(config, logger=log)
        self._next: dict[Place, int] = {}
        self._hearing: Hearing | None = None
        self._asked_at = monotonic()
        self.is_heard = False

    def bounds(self, topic: str, partitions: int) -> list[Bounds]:
        """Those of each partition. Raises KafkaException when the broker does not answer."""
        places = [TopicPartition(topic, number) for number in range(partitions)]
        return [Bounds(*self._client.get_watermark_offsets(place, timeout=_TIMEOUT_S)) for place in places]

    def seek(self, positions: Mapping[Place, int]) -> None:
        """Reads from there on, and nothing else."""
        if positions == self._next:
            return  # what has been fetched already goes on there
        self._next = dict(positions)
        self._client.assign([from_position(*position) for position in positions.items()])
        self._hearing = Hearing(self._client, next(iter(positions)).topic)

    def read(self, wait_s: float) -> list[tuple[Place, Record]]:
        """What comes next in the partitions: MOST_RECORDS at most, and nothing when none comes in this time.

        Raises PositionLost when a topic does not have it, BrokerSilent when the broker has been away for long, and
        KafkaException whatever else is wrong.
        """
        first = self._client.poll(wait_s)
        if first is None:
            self._listen()
            return []
        messages = [first, *self._client.consume(MOST_RECORDS - 1, 0)]
        found = [(place_of(message), record_of(message)) for message in messages if _is_record(message)]
        self._next.update((place, record.offset + 1) for place, record in found)
        self.is_heard = self.is_heard or bool(found)
        return found

    def close(self) -> None:
        """Ends the client."""
        self._client.close()

    def _listen(self) -> None:
        """A Kafka client that has lost its broker may wait for ever, and says nothing."""
        if self._hearing and (not self.is_heard or monotonic() - self._asked_at > _ASK_S):
            self.is_heard = self._hearing.ask()
            self._asked_at = monotonic()


def _is_record(message: Message) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.code() in _LOST:
        raise PositionLost(f"{message.topic()}/{message.partition()} does not have this position: {error.str()}")
    if error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise KafkaException(error)
    log.warning("%s", error)
    return False


_LOST: Sequence[int] = (
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001  # how librdkafka names its own error codes
    KafkaError.OFFSET_OUT_OF_RANGE,
)
