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
from typing import Any, NamedTuple

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.types import Schema

_HEADER = struct.Struct(">bI")

#: Events whose data is kept for the next consumer that reads them.
SHARED = 4_096


class Undecodable(ValueError):
    """The bytes are not an event that this codec or the registry knows: trying again gives the same."""


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


class Codec:
    """Encodes with the schemas in this folder; decodes whatever the registry knows.

    `ids` maps each event type to its schema's id. `fetch` gives the text of a schema by id, for events written with
    another version of a schema; it raises Undecodable when there is no such id.
    """

    def __init__(self, ids: Mapping[str, int], fetch: Callable[[int], str]) -> None:
        self._prefixes = {name: _HEADER.pack(0, ids[name]) for name in TYPES}
        self._fetch = fetch
        #: The event's data, with defaults for fields that its writer did not know. Raises Undecodable. What it gives
        #: is shared by all who ask for the same bytes, and must not be changed: a worker's consumers read the same
        #: events within milliseconds of each other, and each is decoded once.
        self.decode = lru_cache(maxsize=SHARED)(self._decode)
        # Writer and reader schema by id. No reader: written with the very schema that we read with.
        self._schemas: dict[int, tuple[Schema, Schema | None]] = {
            ids[name]: (event_type.schema, None) for name, event_type in TYPES.items()
        }

    def encode(self, type_: str, data: Mapping[str, Any]) -> bytes:
        """The bytes of an event; raises when `data` does not fit the type's schema."""
        out = BytesIO()
        out.write(self._prefixes[type_])
        schemaless_writer(out, TYPES[type_].schema, data)
        return out.getvalue()

    def _decode(self, value: bytes | None) -> dict[str, Any]:
        if value is None or len(value) < _HEADER.size:
            raise Undecodable("not in the Confluent wire format: shorter than its header")
        magic, schema_id = _HEADER.unpack_from(value)
        if magic != 0:
            raise Undecodable(f"not in the Confluent wire format: first byte is {magic}, not 0")
        writer, reader = self._schemas.get(schema_id) or self._learn(schema_id)
        body = BytesIO(value)
        body.seek(_HEADER.size)
        try:
            data = schemaless_reader(body, writer, reader)
        except (EOFError, ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            raise Undecodable(f"not Avro of schema {schema_id}: {error!r}") from error
        if body.tell() != len(value):
            raise Undecodable(f"not Avro of schema {schema_id}: {len(value) - body.tell()} bytes left over")
        if not isinstance(data, dict):
            raise Undecodable(f"schema {schema_id} is not a record")
        return data

    def _learn(self, schema_id: int) -> tuple[Schema, Schema | None]:
        """An older or newer version of one of our types is read as ours; a type that we do not have, as written."""
        record = json.loads(self._fetch(schema_id))
        known = TYPES.get(record.get("name", "")) if isinstance(record, dict) else None
        pair = (parse_schema(record), known.schema if known else None)
        self._schemas[schema_id] = pair
        return pair
