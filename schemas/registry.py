"""Publishing the schemas, and finding their ids, through the registry's Confluent-compatible API.

A subject is a record's full name ("marea.order.OrderPlaced"), so one topic carries several types.
"""

from collections.abc import Collection
from functools import partial
from http import HTTPStatus
from typing import cast

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from schemas.codec import TOPICS, TYPES, Codec, EventType, Undecodable

COMPATIBILITY = "FULL_TRANSITIVE"


class IncompatibleSchema(Exception):
    """The registry refused a schema: readers of what is already in the topics would break."""


def register(url: str) -> dict[str, int]:
    """Registers every .avsc that the registry does not have yet; gives the ids by event type.

    Raises IncompatibleSchema when a changed schema can't read what every earlier version wrote, or the other way
    round: topics are kept for ever, and old and new code read them at the same time.
    """
    with _client(url) as client:
        client.set_compatibility(level=COMPATIBILITY)
        return {event_type.name: register_one(client, event_type) for event_type in TYPES.values()}


def register_one(client: SchemaRegistryClient, event_type: EventType) -> int:
    """Registers one schema and gives its id; see `register`."""
    try:
        return client.register_schema(_subject(event_type), _schema(event_type))
    except SchemaRegistryError as error:
        if error.http_status_code != HTTPStatus.CONFLICT:
            raise
        raise IncompatibleSchema(
            f"schemas/{event_type.name}.avsc is not {COMPATIBILITY} with what is registered as"
            f" {_subject(event_type)}: give a new field a default, take none away that has none, or make a new event type. {error}"
        ) from error


def connect(url: str, shared: int = 0, topics: Collection[str] = TOPICS) -> Codec:
    """A codec that encodes events of these topics, and decodes all that are registered; `shared` as in Codec.

    Raises LookupError when a schema of these is not registered as it stands here, ConnectionError when the registry is away.
    """
    own = {name: event_type for name, event_type in TYPES.items() if event_type.topic in topics}
    try:
        with _client(url) as client:
            ids = {name: _find(client, event_type) for name, event_type in own.items()}
    except LookupError:
        raise
    except Exception as error:
        raise ConnectionError(f"the schema registry at {url} does not answer: {error}") from error
    return Codec(ids, partial(_fetch, url), shared)


def _client(url: str) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": url, "timeout": 10})


def _subject(event_type: EventType) -> str:
    return f"{event_type.topic}.{event_type.name}"


def _schema(event_type: EventType) -> Schema:
    return Schema(event_type.text, "AVRO")


def _find(client: SchemaRegistryClient, event_type: EventType) -> int:
    try:
        return cast("int", client.lookup_schema(_subject(event_type), _schema(event_type)).schema_id)
    except SchemaRegistryError as error:
        if error.http_status_code != HTTPStatus.NOT_FOUND:
            raise
        raise LookupError(
            f"{_subject(event_type)} is not registered as in schemas/{event_type.name}.avsc: run `./marea up`"
        ) from error


def _fetch(url: str, schema_id: int) -> str:
    try:
        with _client(url) as client:
            return str(client.get_schema(schema_id).schema_str)
    except SchemaRegistryError as error:
        # Anything else (the registry is down) says nothing about the event: the caller tries again.
        if error.http_status_code != HTTPStatus.NOT_FOUND:
            raise
        raise Undecodable(f"schema id {schema_id} is not in the registry") from error
