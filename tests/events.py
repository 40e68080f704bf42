"""Events and records for tests: a codec with made-up ids, and records as Debezium writes them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.codec import TYPES, Codec, Undecodable
from schemas.event import Event, iso_utc
from streams.engine.batch import Batch, Record

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
        ("OrderCancelled", ORDER, SETTLED),
    ],
}


def _unknown_schema(schema_id: int) -> str:
    raise Undecodable(f"schema id {schema_id} is not in the registry")


CODEC = Codec({name: number for number, name in enumerate(sorted(TYPES), 1)}, _unknown_schema)


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


def batch(events: Sequence[Event], start: int = 0, partition: int = 0) -> Batch:
    """The events as one batch of consecutive offsets from `start`."""
    records = [record(offset, event) for offset, event in enumerate(events, start)]
    return Batch(partition, start, start + len(records), records)
