"""When events happened that consumers have not come to: read from Kafka by their offsets, a few at a time."""

from collections.abc import Collection
from contextlib import closing
from datetime import UTC, datetime
from time import monotonic
from typing import NamedTuple

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import Message, TopicPartition

from streams.engine.batch import Place
from streams.engine.client import client_config, place_of, record_of

#: Seconds that the broker gets for all of them.
_PATIENCE_S = 10.0
#: One record is wanted of each partition, and no more than it needs is fetched.
_BRIEF = {"fetch.message.max.bytes": 4_096, "queued.min.messages": 1, "queued.max.messages.kbytes": 1_024}


class At(NamedTuple):
    """One record's place."""

    place: Place
    offset: int


def moments(bootstrap: str, wanted: Collection[At]) -> dict[At, datetime]:
    """When each event happened, as it says itself, or when it was written. What its topic does not have is left out.

    Raises TimeoutError when the broker does not answer in time.
    """
    found: dict[At, datetime] = {}
    if not wanted:
        return found
    deadline = monotonic() + _PATIENCE_S
    with closing(KafkaConsumer({**client_config(bootstrap, "marea.moments"), **_BRIEF})) as client:
        left = set(wanted)
        while left:
            # One of each partition: a client reads a partition at one place at a time.
            at_once = {at.place: at for at in sorted(left)}
            found |= _read(client, at_once, deadline)
            left -= set(at_once.values())
    return found


def _read(client: KafkaConsumer, wanted: dict[Place, At], deadline: float) -> dict[At, datetime]:
    client.assign([TopicPartition(*at.place, at.offset) for at in wanted.values()])
    left = dict(wanted)
    found: dict[At, datetime] = {}
    while left:
        message = client.poll(max(0.0, deadline - monotonic()))
        if message is None:
            raise TimeoutError(f"Kafka gives no record of {', '.join(f'{at.topic}/{at.partition}' for at in left)}")
        if message.error():
            if message.topic():  # the place is not in the topic any more
                left.pop(place_of(message), None)
            continue
        at = left.pop(place_of(message), None)
        if at:
            found[at] = _moment(message)
    return found


def _moment(message: Message) -> datetime:
    headers = dict(record_of(message).headers)
    try:
        moment = datetime.fromisoformat((headers.get("occurred_at") or b"").decode())
    except ValueError:  # it is no event
        moment = None
    if moment is None or moment.tzinfo is None:
        _, written_ms = message.timestamp()
        return datetime.fromtimestamp(written_ms / 1_000, UTC)
    return moment
