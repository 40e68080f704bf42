"""An event's data, back from JSON, where times are texts."""

import json
from collections.abc import Callable
from datetime import datetime
from functools import cache, partial
from typing import Any

from schemas.codec import TYPES

_Convert = Callable[[Any], Any]


def typed(event_type: str, data: dict[str, Any]) -> Any:
    """The data of an event of this type, from what JSON has of it: its times are times again."""
    return _of_record(event_type)(data)


@cache
def _of_record(event_type: str) -> _Convert:
    return _converter(json.loads(TYPES[event_type].text)) or _as_it_is


def _converter(schema: Any) -> _Convert | None:
    """What makes times of texts wherever the schema has times; None where it has none."""
    match schema:
        case ["null", other] if convert := _converter(other):
            return partial(_unless_none, convert)
        case {"logicalType": "timestamp-micros"}:
            return datetime.fromisoformat
        case {"type": "array", "items": items} if convert := _converter(items):
            return partial(_each, convert)
        case {"type": "record", "fields": fields}:
            of_fields = {field["name"]: convert for field in fields if (convert := _converter(field["type"]))}
            return partial(_with_times, of_fields) if of_fields else None
    return None


def _unless_none(convert: _Convert, value: Any) -> Any:
    return None if value is None else convert(value)


def _each(convert: _Convert, values: list[Any]) -> list[Any]:
    return [convert(value) for value in values]


def _with_times(of_fields: dict[str, _Convert], record: dict[str, Any]) -> dict[str, Any]:
    return record | {name: convert(record[name]) for name, convert in of_fields.items()}


def _as_it_is(value: Any) -> Any:
    return value
