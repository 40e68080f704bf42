"""Events to bytes and back, in the Confluent wire format.

Wire format: a zero byte, the writer schema's id in the registry (4 bytes, big endian), the Avro binary body.
https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

import json
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, cast

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.types import Schema

from schemas.bounds import check_bounds

_HEADER = struct.Struct(">bI")

#: The largest event whose data is kept for the next who reads it.
SHARED_BYTES = 4_096

#: Schemas of the registry, other than those of this folder, that are kept.
LEARNED = 256


class Undecodable(ValueError):
    """The record is not an event that this codec or the registry knows: trying again gives the same."""


class UnknownType(Undecodable):
    """The record is an event, of a type that the running code does not know: newer code will."""


class EventType(NamedTuple):
    """One .avsc: `topic` is the record's namespace ("marea.order"), `aggregate` its last part ("order")."""

    name: str
    topic: str
    aggregate: str
    text: str
    schema: Schema


def _load(path: Path) -> EventType:
    text = path.read_text()
    record = json.loads(text)
    if record["name"] != path.stem:
        raise ValueError(f"{path}: the record's name is {record['name']!r}, not the file's")
    topic = record["namespace"]
    return EventType(path.stem, topic, topic.rpartition(".")[2], text, parse_schema(record))


TYPES: Mapping[str, EventType] = {
    path.stem: _load(path) for path in sorted(Path(__file__).parent.glob("*/*.avsc"))
}
TOPICS: tuple[str, ...] = tuple(sorted({event_type.topic for event_type in TYPES.values()}))


class _Writer(NamedTuple):
    """A schema of the registry: the full name of the type that it describes, and with which schema we read it.

    No reader: written with the very schema that we read with. What is not known can't be read.
    """

    type: str
    schema: Schema
    reader: Schema | None = None
    is_known: bool = True


class Codec:
    """Encodes with the schemas in this folder; decodes what other versions of them have written, too.

    `ids` maps event types to their schemas' ids: those that are to be encoded. `fetch` gives the text of a schema by
    id; it raises Undecodable when there is no such id, and anything else when the registry is away.

    `shared` is for how many events their data is kept for the next who reads the same bytes: a worker's consumers do
    within milliseconds of each other. Who reads each event once wants none: keeping it costs a fifth of decoding.
    """

    def __init__(self, ids: Mapping[str, int], fetch: Callable[[int], str], shared: int = 0) -> None:
        self._prefixes = {name: _HEADER.pack(0, id_) for name, id_ in ids.items()}
        self._fetch = fetch
        self._own = {id_: _Writer(_full_name(TYPES[name]), TYPES[name].schema) for name, id_ in ids.items()}
        self._learned = lru_cache(LEARNED)(self._learn)
        self._shared = lru_cache(shared)(self._read) if shared else self._read

    def encode(self, type_: str, data: Mapping[str, Any]) -> bytes:
        """The bytes of an event. Raises KeyError for a type whose id is not known, and when `data` does not fit the type's schema."""
        out = BytesIO()
        out.write(self._prefixes[type_])
        schemaless_writer(out, TYPES[type_].schema, data)
        return out.getvalue()

    def decode(self, topic: str, type_: str, value: bytes | None) -> dict[str, Any]:
        """The data of an event of this type, with defaults for fields that its writer did not know.

        It may be shared by all who ask for the same bytes, and must not be changed.

        Raises UnknownType, or Undecodable whatever else may be wrong with the record, a value of another type
        included; and what `fetch` raises when the registry is away, which says nothing about the record.
        """
        if value is None:
            raise Undecodable("there is no value: a tombstone")
        read = self._shared if len(value) <= SHARED_BYTES else self._read
        written, data = read(value)
        if written != f"{topic}.{type_}":
            raise Undecodable(f"the value is a {written}, not a {topic}.{type_}")
        if data is None:
            raise UnknownType(f"the running code does not know {type_}")
        return data

    def _read(self, value: bytes) -> tuple[str, dict[str, Any] | None]:
        """The full name of the value's type, and its data; None when the type is not one of ours."""
        if len(value) < _HEADER.size:
            raise Undecodable("the value is not in the Confluent wire format: shorter than its header")
        magic, schema_id = _HEADER.unpack_from(value)
        if magic != 0:
            raise Undecodable(f"the value is not in the Confluent wire format: first byte is {magic}, not 0")
        writer = self._own.get(schema_id) or self._learned(schema_id)
        if not writer.is_known:
            return writer.type, None
        body = BytesIO(value)
        body.seek(_HEADER.size)
        try:
            data = schemaless_reader(body, writer.schema, writer.reader)
        except Exception as error:  # nothing but the record can be at fault
            raise Undecodable(f"not Avro of schema {schema_id}: {error!r}") from error
        if body.tell() != len(value):
            raise Undecodable(f"not Avro of schema {schema_id}: {len(value) - body.tell()} bytes left over")
        return writer.type, cast("dict[str, Any]", data)

    def _learn(self, schema_id: int) -> _Writer:
        """A schema whose id was not known: one of this folder, of an older or newer version, of a newer type, or a foreign one."""
        text = self._fetch(schema_id)
        try:
            schema: dict[str, Any] = parse_schema(json.loads(text))  # type: ignore[assignment]  # a record's
            check_bounds(schema)
            name = schema["name"]
        except Exception as error:  # whatever a foreign schema may be
            raise Undecodable(f"schema {schema_id} is not one of an event: {error!r}") from error
        known = _BY_FULL_NAME.get(name)
        return _Writer(name, schema, known.schema if known else None, is_known=known is not None)


def _full_name(event_type: EventType) -> str:
    return f"{event_type.topic}.{event_type.name}"


_BY_FULL_NAME = {_full_name(event_type): event_type for event_type in TYPES.values()}
