"""An event with its envelope, as both sides hold it in memory."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson


class Event(NamedTuple):
    """What happened to one aggregate.

    `id` is a UUIDv7; `key` is the aggregate's id and the Kafka message key; `version` is the aggregate's version
    after the event (1 for the first); `occurred_at` is UTC; `data` has the fields of the type's .avsc.
    """

    id: str
    type: str
    key: str
    version: int
    occurred_at: datetime
    data: dict[str, Any]
    traceparent: str | None = None


def iso_utc(moment: datetime) -> str:
    """The one way that times are written in JSON: UTC, always six digits of a second, ending in Z."""
    # A third of what isoformat() costs; and every event is folded with one or two times.
    text = orjson.dumps(moment if moment.tzinfo is UTC else moment.astimezone(UTC), option=orjson.OPT_UTC_Z).decode()
    return text[1:-1] if moment.microsecond else f"{text[1:-2]}.000000Z"
