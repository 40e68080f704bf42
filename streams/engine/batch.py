"""What the source hands over: records of one partition, and what they say.

A record is an event when all of this holds, and nothing else is:

- Its key, the aggregate's id, is UTF-8 of 1 to MAX_KEY_BYTES bytes, without NUL, which PostgreSQL can't keep, and
  does not begin with UNREADABLE.
- It has just one each of the headers `id` (a UUID), `type` (a name), `version` (1 to MAX_NUMBER in ASCII digits) and
  `occurred_at` (ISO 8601 with a time zone, in the years of YEARS); at most one `traceparent` (W3C Trace Context), which
  may be empty. Other headers mean nothing.
- Its value is Avro of the type that its header says, of the topic that it is in.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal, NamedTuple, TypeVar

from kernel.limits import MAX_KEY_BYTES, MAX_NUMBER
from schemas.codec import Codec, Undecodable, UnknownType
from schemas.event import Event, Topic

#: What the ids begin with under which records are parked whose keys are no aggregate's ids.
UNREADABLE = "unreadable:"

#: The years in which events can have happened: those that every store can keep.
YEARS = range(1970, 2200)

#: What each header of the envelope has to be, beside `occurred_at`.
_PATTERNS = {
    "id": rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "type": rb"[A-Za-z_][A-Za-z0-9_]{0,99}",
    "version": rb"[0-9]{1,16}",
    "traceparent": rb"([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})?",
}
# All at once, which is cheaper than one by one: no header can have a space in it.
_all_match = re.compile(b" ".join(_PATTERNS.values())).fullmatch

#: Keys of at most this many bytes are readable in what aggregate_id makes of them.
_READABLE_BYTES = 31


E = TypeVar("E")


class Record(NamedTuple):
    """One Kafka message; `headers` as librdkafka gives them: pairs of a name and bytes.

    `leader_epoch`, -1 when unknown, never falls along a partition: if it does, the broker's log has gone back.
    `recorded_at` is when the relay wrote it, in seconds of time.time().
    """

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Any
    leader_epoch: int = -1
    recorded_at: float = 0.0


class Item(NamedTuple):
    """A record as consumers get it: decoded once for all of them. Without an event there is a fault, and its reason.

    The fault is `unknown` when the record is an event of a type that the running code does not know, `record` when it
    is none. `key` is the aggregate's id, `version` 0 when the record does not say it, `size` the bytes of its value.
    """

    offset: int
    key: str
    version: int
    event: Event | None
    size: int
    fault: Literal["", "record", "unknown"] = ""
    reason: str = ""
    leader_epoch: int = -1
    recorded_at: float = 0.0


class Place(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class Batch(NamedTuple):
    """Consecutive records of one partition: all there is from offset `start` up to, but without, `end`."""

    place: Place
    start: int
    end: int
    items: Sequence[Item]

    @property
    def leader_epoch(self) -> int:
        """That of the last record."""
        return self.items[-1].leader_epoch

    def leader_epoch_at(self, position: int) -> int:
        """That of the first record at or after a position; -1 when there is none: offsets may be missing in between."""
        return next((item.leader_epoch for item in self.items if item.offset >= position), -1)

    def halves(self) -> "tuple[Batch, Batch]":
        """The batch in two. It needs two items at least."""
        middle = len(self.items) // 2
        first, second = self.items[:middle], self.items[middle:]
        border = second[0].offset
        return self._replace(end=border, items=first), self._replace(start=border, items=second)


def aggregate_id(record: Record) -> str:
    """The aggregate's id, or what stands for it when the key is none: a text that every store can keep.

    Different keys give different texts.
    """
    key = record.key or b""
    return _id_of(key) or UNREADABLE + (key.hex() if len(key) <= _READABLE_BYTES else sha256(key).hexdigest())


def decode(record: Record, codec: Codec, topic: Topic[E]) -> E:
    """The event of a record of the topic.

    Raises Undecodable, saying what is missing or wrong, UnknownType included, and what the codec raises when the
    registry is away.
    """
    key = _id_of(record.key or b"")
    if key is None:
        raise Undecodable("the key is not an aggregate's id")
    headers = record.headers or ()
    envelope = dict(headers)
    if len(envelope) < len(headers):
        _check_once([name for name, _ in headers])
    traceparent = envelope.get("traceparent") or b""
    try:
        id_, type_, version = envelope["id"], envelope["type"], envelope["version"]
        if not _all_match(b" ".join((id_, type_, version, traceparent))):
            raise _fault(envelope)
        occurred_at = _utc(envelope["occurred_at"])
    except (KeyError, TypeError, AttributeError):
        raise _fault(envelope) from None
    name = type_.decode()
    # Its type is one of the topic's, and its data what the type has: the codec has seen to both.
    return Event(  # type: ignore[return-value]
        id_.decode(),
        name,
        key,
        _in_range(int(version)),
        occurred_at,
        codec.decode(topic, name, record.value),
        traceparent.decode() or None,
    )


def _id_of(key: bytes) -> str | None:
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return None
    return text if 0 < len(key) <= MAX_KEY_BYTES and "\0" not in text and not text.startswith(UNREADABLE) else None


def _check_once(names: list[str]) -> None:
    for name in (*_PATTERNS, "occurred_at"):
        if names.count(name) > 1:
            raise Undecodable(f"the envelope has more than one header {name!r}")


def _fault(envelope: Mapping[str, bytes | None]) -> Undecodable:
    """What is wrong with an envelope that has a header missing, or malformed."""
    for name in ("id", "type", "version", "occurred_at"):
        if envelope.get(name) is None:
            return Undecodable(f"the envelope has no header {name!r}")
    faults = [name for name, pattern in _PATTERNS.items() if not re.fullmatch(pattern, envelope.get(name) or b"")]
    return _malformed(faults[0], envelope[faults[0]])


def _in_range(version: int) -> int:
    if not 1 <= version <= MAX_NUMBER:
        raise Undecodable(f"the header 'version' is {version}, which is not from 1 to {MAX_NUMBER}")
    return version


def _utc(occurred_at: bytes) -> datetime:
    try:
        moment = datetime.fromisoformat(occurred_at.decode())
    except ValueError as error:
        raise _malformed("occurred_at", occurred_at) from error
    if moment.tzinfo is None or moment.year not in YEARS:
        raise _malformed("occurred_at", occurred_at)
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


def _malformed(name: str, value: bytes | None) -> Undecodable:
    return Undecodable(f"the header {name!r} is malformed: {(value or b'')[:100]!r}")


def read(record: Record, codec: Codec, topic: str) -> Item:
    """The record, decoded or with what is wrong. Raises what `decode` raises when the registry is away."""
    size = len(record.value or b"")
    try:
        event: Event = decode(record, codec, Topic(topic))
    except Undecodable as error:
        fault: Literal["record", "unknown"] = "unknown" if isinstance(error, UnknownType) else "record"
        key, version = aggregate_id(record), _said_version(record)
        return Item(record.offset, key, version, None, size, fault, str(error), *record[4:])
    return Item(record.offset, event.key, event.version, event, size, "", "", *record[4:])


def _said_version(record: Record) -> int:
    """The version that the envelope of a faulty record gives; 0 when it gives none."""
    given = [value for name, value in record.headers or () if name == "version"]
    if len(given) != 1 or not re.fullmatch(_PATTERNS["version"], given[0] or b""):
        return 0
    return int(given[0]) if int(given[0]) <= MAX_NUMBER else 0
