"""The Kafka client of all that reads topics: its settings, and its messages as records."""

import logging
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import cast

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from kernel.limits import MAX_RECORD_BYTES
from streams.engine.batch import Batch, Place, Record
from streams.engine.feed import Feed

log = logging.getLogger(__name__)

#: Seconds that the broker may take to answer, and that it may leave us without any answer when we ask.
ANSWER_S, SILENCE_S = 1.0, 10.0


class BrokerSilent(Exception):
    """The broker has not answered for SILENCE_S: it is away, or the client has lost it for good."""


def client_config(bootstrap: str, group: str) -> dict[str, str | int | bool]:
    """Settings of every consumer of ours. Nothing is ever skipped: a position out of range is an error.

    What a client fetches ahead is bounded in bytes, and any record that the relay may write fits.
    """
    return {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": "error",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "queued.max.messages.kbytes": 16_384,
        "message.max.bytes": 2 * MAX_RECORD_BYTES,
        "fetch.message.max.bytes": MAX_RECORD_BYTES,
        "fetch.queue.backoff.ms": 10,
    }


def by_place(messages: Iterable[Message]) -> dict[Place, list[Message]]:
    """The messages, in order, by partition."""
    found: dict[tuple[str | None, int | None], list[Message]] = {}
    for message in messages:
        at = message.topic(), message.partition()  # a plain tuple: a Place would cost several times as much
        if at in found:
            found[at].append(message)
        else:
            found[at] = [message]
    return {place_of(mine[0]): mine for mine in found.values()}


def place_of(message: Message) -> Place:
    """The partition of a message that came from one."""
    return Place(cast("str", message.topic()), cast("int", message.partition()))


def record_of(message: Message) -> Record:
    """The message as a record."""
    epoch = message.leader_epoch()
    headers = message.headers() or ()
    _, recorded_ms = message.timestamp()
    return Record(
        cast("int", message.offset()),
        message.key(),
        message.value(),
        headers,
        -1 if epoch is None else epoch,
        recorded_ms / 1_000,
    )


def from_position(place: Place, offset: int) -> TopicPartition:
    """Where to read from."""
    return TopicPartition(*place, offset)


def batches_of(feed: Feed, messages: Iterable[Message], ahead: dict[Place, int]) -> list[Batch]:
    """The messages as batches, each from where the one before it ended; `ahead`, the next offsets, moves on."""
    batches = []
    for place, found in by_place(messages).items():
        batch = feed.batch(place, ahead[place], list(map(record_of, found)))
        ahead[place] = batch.end
        batches.append(batch)
    return batches


def fetch(bootstrap: str, place: Place, offsets: Sequence[int]) -> list[Record]:
    """The records at these offsets. Raises LookupError when one is not there, TimeoutError when the broker is silent."""
    found: list[Record] = []
    client = KafkaConsumer(client_config(bootstrap, "marea.fetch"))
    try:
        for offset in offsets:
            client.assign([TopicPartition(*place, offset)])
            message = client.poll(SILENCE_S)
            if message is None:
                raise TimeoutError(f"no answer from the broker for {SILENCE_S:.0f} s")
            if message.error() or message.offset() != offset:
                raise LookupError(f"{place.topic}/{place.partition} has no record at {offset}")
            found.append(record_of(message))
    finally:
        client.close()
    return found


class Hearing:
    """Whether the broker answers a client. One that it has not answered for long is of no use any more.

    A broker that is just coming back may answer that there are no brokers. librdkafka (2.16) then lets go of
    those it knows and of its bootstrap servers, and waits for ever.
    """

    def __init__(self, client: KafkaConsumer, topic: str) -> None:
        self._client, self._topic = client, topic
        self._unheard_since: float | None = None

    def ask(self) -> bool:
        """Whether it answers now. Raises BrokerSilent, so that the client is opened anew."""
        asked_at = monotonic()
        try:
            self._client.list_topics(self._topic, timeout=ANSWER_S)
        except KafkaException as error:
            self._unheard_since = self._unheard_since or asked_at
            if monotonic() - self._unheard_since > SILENCE_S:
                raise BrokerSilent(f"no answer from the broker for {SILENCE_S:.0f} s: {error}") from error
            return False
        self._unheard_since = None
        return True


def say(feed: Feed, message: Message) -> None:
    """What a client says in place of a record. Lanes whose position is not in their topic stand still."""
    error = message.error()
    assert error
    if error.code() not in _LOST or not message.topic():
        log.warning("%s: %s", feed.name, error)
        return
    place = place_of(message)
    feed.stand_still(
        place,
        f"{place.topic}/{place.partition} does not have this position ({error.str()}): restore the topic, or rebuild the"
        " consumer",
    )


_LOST = {
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001  # how librdkafka names its own error codes
    KafkaError.OFFSET_OUT_OF_RANGE,
}
