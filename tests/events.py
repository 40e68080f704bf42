"""Events and records for tests: a codec with made-up ids, and records as Debezium writes them."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.codec import TOPICS, TYPES, Codec, Undecodable
from schemas.event import Event, iso_utc
from streams.engine.batch import Batch, Place, Record, read

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
ORDER = "01900000-0000-7000-8000-000000000001"
LINE = {
    "sku": "milk",
    "name": "Milk",
    "department": "GROCERY",
    "category": "DAIRY",
    "brand": "National",
    "quantity": 2,
    "unit_price_minor": 150,
}
PRODUCT = {
    "sku": "milk",
    "name": "Milk",
    "department": "GROCERY",
    "category": "DAIRY",
    "brand": "National",
    "price_minor": 150,
    "currency": "USD",
}
PLACED = {
    "order_id": ORDER,
    "customer_id": "7",
    "placed_at": START,
    "currency": "USD",
    "total_minor": 300,
    "lines": [LINE],
}
SETTLED = {key: PLACED[key] for key in ("order_id", "customer_id", "placed_at", "currency", "total_minor")} | {
    "line_count": 1
}
CANCELLED = SETTLED | {"reason": None}
STOCK = {"sku": "milk", "quantity": 5, "on_hand": 5, "reserved": 0}

#: A life of one aggregate in each topic, versions 1, 2, ...
LIVES: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "marea.product": [
        ("ProductCreated", "milk", PRODUCT),
        ("ProductUpdated", "milk", PRODUCT | {"price_minor": 175}),
        ("ProductArchived", "milk", PRODUCT | {"price_minor": 175}),
    ],
    "marea.stock": [
        ("StockReceived", "milk", STOCK),
        ("StockAdjusted", "milk", STOCK | {"quantity": -1, "on_hand": 4, "reason": "broken"}),
        ("StockReserved", "milk", STOCK | {"quantity": 2, "on_hand": 4, "reserved": 2, "order_id": ORDER}),
        ("StockReleased", "milk", STOCK | {"quantity": 2, "on_hand": 4, "reserved": 0, "order_id": ORDER}),
    ],
    "marea.reservation": [
        ("ReservationMade", ORDER, {"order_id": ORDER}),
        ("ReservationReleased", ORDER, {"order_id": ORDER}),
    ],
    "marea.order": [
        ("OrderPlaced", ORDER, PLACED),
        ("OrderConfirmed", ORDER, SETTLED),
        ("OrderCancelled", ORDER, CANCELLED),
    ],
}


#: What newer code has registered in each topic, by the schema's id: an event type without fields.
_NEWER = {900 + number: topic for number, topic in enumerate(TOPICS)}


def _other_schema(schema_id: int) -> str:
    if schema_id in _NEWER:
        return json.dumps({"type": "record", "name": "SomethingNew", "namespace": _NEWER[schema_id], "fields": []})
    raise Undecodable(f"schema id {schema_id} is not in the registry")


CODEC = Codec({name: number for number, name in enumerate(sorted(TYPES), 1)}, _other_schema)


def life(topic: str) -> list[Event]:
    """The events of one aggregate, from the first on."""
    return [
        Event(f"01900000-0000-7000-8000-1{version:011}", type_, key, version, START + timedelta(seconds=version), data)
        for version, (type_, key, data) in enumerate(LIVES[topic], 1)
    ]


def record(offset: int, event: Event, value: bytes | None = None, type_: str | None = None) -> Record:
    """The event as a Kafka record; `value` and `type_` override what it would say."""
    headers = {
        "id": event.id,
        "type": type_ or event.type,
        "version": str(event.version),
        "occurred_at": iso_utc(event.occurred_at),
    }
    return Record(
        offset,
        event.key.encode(),
        CODEC.encode(event.type, event.data) if value is None else value,
        [(name, text.encode()) for name, text in headers.items()],
    )


def newer(offset: int, event: Event, topic: str) -> Record:
    """In the event's place, one of a type that only newer code knows."""
    [schema_id] = [schema_id for schema_id, each in _NEWER.items() if each == topic]
    return record(offset, event, b"\0" + schema_id.to_bytes(4), "SomethingNew")


def batch(events: Sequence[Event], topic: str, start: int = 0, partition: int = 0) -> Batch:
    """The events as one batch of consecutive offsets from `start`."""
    records = [record(offset, event) for offset, event in enumerate(events, start)]
    return batch_of(records, topic, partition)


def batch_of(records: Sequence[Record], topic: str, partition: int = 0) -> Batch:
    """Records of consecutive offsets as one batch."""
    items = [read(one, CODEC, topic) for one in records]
    return Batch(Place(topic, partition), records[0].offset, records[-1].offset + 1, items)
