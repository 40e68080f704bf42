"""What the source hands over: records of one partition, and what they say."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from schemas.codec import Codec, Undecodable
from schemas.event import Event


class Record(NamedTuple):
    """One Kafka message; `headers` as librdkafka gives them: pairs of a name and bytes."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Any


class Batch(NamedTuple):
    """Consecutive records of one partition: all there is from offset `start` up to, but without, `end`."""

    partition: int
    start: int
    end: int
    records: Sequence[Record]


def aggregate_id(record: Record) -> str:
    """The message key as text, whatever bytes it has: parked records are kept under it too."""
    return (record.key or b"").decode(errors="backslashreplace")


def decode(record: Record, codec: Codec) -> Event:
    """The record's event. Raises Undecodable, saying what is missing or wrong."""
    envelope = dict(record.headers)
    try:
        return Event(
            envelope["id"].decode(),
            envelope["type"].decode(),
            aggregate_id(record),
            int(envelope["version"]),
            datetime.fromisoformat(envelope["occurred_at"].decode()),
            codec.decode(record.value),
            envelope["traceparent"].decode() if envelope.get("traceparent") else None,
        )
    except KeyError as error:
        raise Undecodable(f"the envelope has no header {error}") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise Undecodable(f"a header or the value is malformed: {error}") from error
