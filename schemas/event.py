"""An event with its envelope, as both sides hold it in memory."""

from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple

import orjson
from typing_extensions import TypeVar

Type_co = TypeVar("Type_co", bound=str, covariant=True, default=Any)
Data_co = TypeVar("Data_co", covariant=True, default=Any)


class Event(NamedTuple, Generic[Type_co, Data_co]):
    """What happened to one aggregate. Which types there are and what is in their data is in schemas/<aggregate>.

    `id` is a UUIDv7; `key` is the aggregate's id and the Kafka message key; `version` is the aggregate's version
    after the event (1 for the first); `occurred_at` is UTC; `data` has the fields of the type's .avsc.
    """

    id: str
    type: Type_co
    key: str
    version: int
    occurred_at: datetime
    data: Data_co
    traceparent: str | None = None


Event_co = TypeVar("Event_co", covariant=True, default=Any)


class Topic(str, Generic[Event_co]):
    """A topic's name, with the events that are in it."""

    __slots__ = ()


def iso_utc(moment: datetime) -> str:
    """The one way that times are written in JSON: UTC, always six digits of a second, ending in Z."""
    # A third of what isoformat() costs; and every event is folded with one or two times.
    text = orjson.dumps(moment if moment.tzinfo is UTC else moment.astimezone(UTC), option=orjson.OPT_UTC_Z).decode()
    return text[1:-1] if moment.microsecond else f"{text[1:-2]}.000000Z"


def jsonable(value: Any) -> Any:
    """The value with its times as they are written in JSON."""
    if isinstance(value, dict):
        return {name: jsonable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [jsonable(each) for each in value]
    return iso_utc(value) if isinstance(value, datetime) else value
