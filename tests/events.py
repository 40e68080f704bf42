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
NEW_ORDER = "01900000-0000-7000-8000-000000000002"
EXCHANGE = "01900000-0000-7000-8000-000000000003"
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
_ORDER = {
    "order_id": ORDER,
    "customer_id": "7",
    "placed_at": START,
    "currency": "USD",
    "total_minor": 300,
    "status": "placed",
    "reason": None,
    "due_minor": 300,
    "due_version": 1,
    "pay_by": START + timedelta(minutes=15),
    "card_token": "tok_approved",
    "exchange_id": None,
}
PLACED = {**_ORDER, "lines": [LINE]}
UNITS = {"sku": "milk", "quantity": 2, "unit_price_minor": 150, "cancelled": 0, "lost": 0}
#: An order as each of its events but the first tells it.
SETTLED = {
    **_ORDER,
    "status": "confirmed",
    "units": [UNITS],
    "cancelled_minor": 0,
    "lost_minor": 0,
    "returned_minor": 0,
    "goodwill_minor": 0,
    "credit_given_minor": 0,
    "credit_got_minor": 0,
    "is_credited": False,
    "cancel": None,
    "undone_version": 0,
    "returns_taken": [],
    "shipments_lost": [],
}
STOPPING = SETTLED | {"status": "stopping", "cancel": {"number": 1, "units": [{"sku": "milk", "quantity": 1}]}}
LESS = STOPPING | {
    "status": "undoing",
    "units": [UNITS | {"cancelled": 1}],
    "cancelled_minor": 150,
    "due_minor": 150,
    "due_version": 5,
    "undone_version": 5,
}
CANCELLED = SETTLED | {
    "status": "cancelled",
    "units": [UNITS | {"cancelled": 2}],
    "cancelled_minor": 300,
    "due_minor": 0,
}
STOCK = {"sku": "milk", "quantity": 5, "on_hand": 5, "reserved": 0}
RESERVED_LINE = {"sku": "milk", "reserved": 2, "released": 0, "consumed": 0}
RESERVED = {"order_id": ORDER, "status": "made", "reason": None, "order_version": 1, "lines": [RESERVED_LINE]}
_AUTHORIZED = {
    "number": 1,
    "kind": "authorize",
    "amount_minor": 300,
    "shipment": None,
    "authorization": None,
    "state": "succeeded",
    "reference": "auth_1",
    "code": None,
}
PAYMENT = {
    "order_id": ORDER,
    "customer_id": "7",
    "currency": "USD",
    "status": "authorized",
    "reason": None,
    "order_version": 2,
    "due_minor": 300,
    "settled_version": 2,
    "authorized_minor": 300,
    "captured_minor": 0,
    "refunded_minor": 0,
    "written_off_minor": 0,
    "card_token": "tok_approved",
    "is_declined": False,
    "operations": [_AUTHORIZED],
    "cases": [],
}
_PAID = PAYMENT | {
    "status": "paid",
    "authorized_minor": 0,
    "captured_minor": 300,
    "operations": [_AUTHORIZED, _AUTHORIZED | {"number": 2, "kind": "capture", "shipment": 1, "authorization": 1}],
}
_CASE = {"kind": "disputed", "number": 1, "reason": "the provider contradicts itself", "since": START}
SHIPMENT = {
    "number": 1,
    "status": "planned",
    "units": [{"sku": "milk", "quantity": 2, "unit_price_minor": 150}],
    "amount_minor": 300,
    "tracking": None,
    "days": None,
    "expected_by": None,
    "is_contradicted": False,
}


def _sent(status: str, **changes: Any) -> dict[str, Any]:
    """A fulfilment whose parcel has this status."""
    return {
        "order_id": ORDER,
        "customer_id": "7",
        "currency": "USD",
        "status": "open",
        "reason": None,
        "shipments": [SHIPMENT | {"status": status} | changes],
        "answered": None,
        "cases": [],
    }


def _returned(status: str, value_minor: int = 0) -> dict[str, Any]:
    """Returns of which the only one has this status."""
    one = {
        "number": 1,
        "status": status,
        "units": [{"sku": "milk", "quantity": 1}],
        "value_minor": value_minor,
        "is_restocked": bool(value_minor),
        "exchange_id": None,
        "expires_at": None,
        "reason": None,
    }
    return {"order_id": ORDER, "customer_id": "7", "currency": "USD", "reason": None, "returns": [one]}


def _exchange(step: str, **changes: Any) -> dict[str, Any]:
    base = {
        "exchange_id": EXCHANGE,
        "order_id": ORDER,
        "new_order_id": NEW_ORDER,
        "customer_id": "7",
        "step": step,
        "reason": None,
        "units": [{"sku": "milk", "quantity": 1}],
        "return_number": None,
        "value_minor": 0,
        "credit_minor": 0,
    }
    return base | changes


_CARRIED = {"tracking": "T1", "days": 2, "expected_by": START + timedelta(days=4)}

#: A life of one aggregate in each topic, versions 1, 2, ...: every type that does not end another life comes up.
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
        ("StockReleased", "milk", STOCK | {"quantity": 1, "on_hand": 4, "reserved": 1, "order_id": ORDER}),
        ("StockShipped", "milk", STOCK | {"quantity": 1, "on_hand": 3, "reserved": 0, "order_id": ORDER}),
    ],
    "marea.reservation": [
        ("ReservationMade", ORDER, RESERVED),
        ("ReservationReduced", ORDER, RESERVED | {"order_version": 5, "lines": [RESERVED_LINE | {"released": 1}]}),
    ],
    "marea.order": [
        ("OrderPlaced", ORDER, PLACED),
        ("OrderReserved", ORDER, SETTLED | {"status": "reserved"}),
        ("OrderConfirmed", ORDER, SETTLED),
        ("OrderCancelRequested", ORDER, STOPPING),
        ("OrderLinesCancelled", ORDER, LESS),
        ("OrderAmended", ORDER, LESS | {"status": "confirmed"}),
        ("OrderDueChanged", ORDER, LESS | {"status": "confirmed", "goodwill_minor": 50, "due_minor": 100, "due_version": 7}),
        ("OrderCompleted", ORDER, LESS | {"status": "completed", "goodwill_minor": 50, "due_minor": 100, "due_version": 7}),
    ],
    "marea.payment": [
        ("PaymentDeclined", ORDER, PAYMENT | {"is_declined": True, "operations": [], "reason": "card_declined"}),
        ("PaymentCardChanged", ORDER, PAYMENT | {"operations": [], "status": "open"}),
        ("PaymentUnknown", ORDER, PAYMENT | {"operations": [_AUTHORIZED | {"state": "unknown"}], "status": "unknown"}),
        ("PaymentDisputed", ORDER, PAYMENT | {"operations": [_AUTHORIZED | {"state": "disputed"}], "cases": [_CASE]}),
        ("PaymentRuled", ORDER, PAYMENT | {"reason": "seen"}),
        ("AuthorizationExpired", ORDER, PAYMENT | {"operations": [_AUTHORIZED | {"state": "failed"}]}),
        ("VoidFailed", ORDER, PAYMENT),
        ("PaymentVoided", ORDER, PAYMENT | {"authorized_minor": 0}),
        ("PaymentAuthorized", ORDER, PAYMENT),
        ("CaptureFailed", ORDER, PAYMENT | {"is_declined": True}),
        ("PaymentCaptured", ORDER, _PAID),
        ("RefundFailed", ORDER, _PAID),
        ("PaymentRefunded", ORDER, _PAID | {"refunded_minor": 150}),
        ("PaymentSettled", ORDER, _PAID | {"refunded_minor": 150, "settled_version": 5}),
    ],
    "marea.fulfilment": [
        ("ShipmentsPlanned", ORDER, _sent("planned")),
        ("FulfilmentAnswered", ORDER, _sent("planned") | {"answered": {"number": 1, "stopped": [{"sku": "milk", "quantity": 1}]}}),
        ("ShipmentPacked", ORDER, _sent("packed")),
        ("ShipmentHeld", ORDER, _sent("held") | {"cases": [_CASE | {"kind": "held"}]}),
        ("ShipmentReady", ORDER, _sent("ready")),
        ("ShipmentLabelled", ORDER, _sent("ready", tracking="T1", days=2)),
        ("ShipmentDispatched", ORDER, _sent("dispatched", **_CARRIED)),
        ("ShipmentOverdue", ORDER, _sent("overdue", **_CARRIED) | {"cases": [_CASE | {"kind": "overdue"}]}),
        ("ShipmentDelivered", ORDER, _sent("delivered", **_CARRIED)),
        ("ShipmentContradicted", ORDER, _sent("delivered", **_CARRIED, is_contradicted=True)),
        ("ShipmentRuled", ORDER, _sent("delivered", **_CARRIED) | {"reason": "seen"}),
    ],
    "marea.returns": [
        ("ReturnRequested", ORDER, _returned("requested")),
        ("ReturnApproved", ORDER, _returned("approved")),
        ("ReturnReceived", ORDER, _returned("received")),
        ("ReturnAccepted", ORDER, _returned("accepted", 150)),
        ("ReturnRefunded", ORDER, _returned("refunded", 150)),
    ],
    "marea.exchange": [
        ("ExchangeRequested", EXCHANGE, _exchange("reserving")),
        ("ExchangeReturnWanted", EXCHANGE, _exchange("returning")),
        ("CreditDecided", EXCHANGE, _exchange("crediting", return_number=1, value_minor=150, credit_minor=150)),
        ("ExchangeFinished", EXCHANGE, _exchange("finished", return_number=1, value_minor=150, credit_minor=150)),
    ],
}

#: Types that come up in no life of LIVES: they end another one, or are of an exchange.
ELSEWHERE = frozenset(
    {
        "ReservationRefused",
        "OrderRejected",
        "OrderCancelled",
        "OrderCancelDeclined",
        "OrderLinesLost",
        "OrderCreditReturned",
        "ShipmentLost",
        "ReturnRejected",
        "ReturnCancelled",
        "ReturnExpired",
        "ExchangeFailed",
    }
)


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
