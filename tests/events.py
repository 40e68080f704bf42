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
PLACED: dict[str, Any] = {
    "order_id": ORDER,
    "customer_id": "7",
    "placed_at": START,
    "currency": "USD",
    "total_minor": 300,
    "lines": [LINE],
    "status": "placed",
    "reason": None,
    "due_minor": 300,
    "due_version": 1,
    "pay_by": START + timedelta(minutes=15),
    "card_token": "tok_approved",
    "exchange_id": None,
}
UNITS: dict[str, Any] = {"sku": "milk", "quantity": 2, "unit_price_minor": 150, "cancelled": 0, "lost": 0}
#: What each event of an order but the first says.
STATE: dict[str, Any] = {name: value for name, value in PLACED.items() if name != "lines"} | {
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
STOPPING = STATE | {"status": "stopping", "cancel": {"number": 1, "units": [{"sku": "milk", "quantity": 1}]}}
LESS = STOPPING | {
    "status": "undoing",
    "units": [UNITS | {"cancelled": 1}],
    "cancelled_minor": 150,
    "due_minor": 150,
    "due_version": 8,
    "undone_version": 8,
}
SETTLED = STATE | {"status": "confirmed"}
NOTHING = LESS | {"units": [UNITS | {"cancelled": 2}], "cancelled_minor": 300, "due_minor": 0}
CANCELLED = NOTHING | {"status": "cancelled"}
RESERVATION: dict[str, Any] = {
    "order_id": ORDER,
    "status": "made",
    "reason": None,
    "order_version": 1,
    "lines": [{"sku": "milk", "reserved": 2, "released": 0, "consumed": 0}],
}
CASE: dict[str, Any] = {"kind": "disputed", "number": 1, "reason": "the provider contradicts itself", "since": START}
OPERATION: dict[str, Any] = {
    "number": 1,
    "kind": "authorize",
    "amount_minor": 300,
    "shipment": None,
    "authorization": None,
    "state": "succeeded",
    "reference": "auth_1",
    "code": None,
}
CAPTURE = OPERATION | {"number": 2, "kind": "capture", "shipment": 1, "authorization": 1}
PAYMENT: dict[str, Any] = {
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
    "operations": [OPERATION],
    "cases": [],
}
PAID = PAYMENT | {"status": "paid", "authorized_minor": 0, "captured_minor": 300, "operations": [OPERATION, CAPTURE]}
SHIPMENT: dict[str, Any] = {
    "number": 1,
    "status": "planned",
    "units": [{"sku": "milk", "quantity": 2, "unit_price_minor": 150}],
    "amount_minor": 300,
    "tracking": None,
    "days": None,
    "expected_by": None,
    "is_contradicted": False,
}
FULFILMENT: dict[str, Any] = {
    "order_id": ORDER,
    "customer_id": "7",
    "currency": "USD",
    "status": "open",
    "reason": None,
    "shipments": [SHIPMENT],
    "answered": None,
    "cases": [],
}
RETURN: dict[str, Any] = {
    "number": 1,
    "status": "requested",
    "units": [{"sku": "milk", "quantity": 1}],
    "value_minor": 0,
    "is_restocked": False,
    "exchange_id": None,
    "expires_at": START + timedelta(days=30),
    "reason": None,
}
RETURNS: dict[str, Any] = {"order_id": ORDER, "customer_id": "7", "currency": "USD", "reason": None, "returns": [RETURN]}
EXCHANGE: dict[str, Any] = {
    "exchange_id": "01900000-0000-7000-8000-000000000002",
    "order_id": ORDER,
    "new_order_id": "01900000-0000-7000-8000-000000000003",
    "customer_id": "7",
    "step": "reserving",
    "reason": None,
    "units": [{"sku": "milk", "quantity": 1}],
    "return_number": None,
    "value_minor": 0,
    "credit_minor": 0,
}
STOCK = {"sku": "milk", "quantity": 5, "on_hand": 5, "reserved": 0}


def _shipped(status: str, **more: Any) -> dict[str, Any]:
    out_of_house = {"tracking": "C1", "days": 3, "expected_by": START + timedelta(days=5)} if status not in ("packed", "held") else {}
    return FULFILMENT | {"shipments": [SHIPMENT | {"status": status} | out_of_house | more]}


def _returned(status: str, **more: Any) -> dict[str, Any]:
    return RETURNS | {"returns": [RETURN | {"status": status} | more]}


_EXCHANGE_ID = str(EXCHANGE["exchange_id"])
_CREDITED = EXCHANGE | {"return_number": 1, "value_minor": 150, "credit_minor": 150}

#: A life of one aggregate in each topic, versions 1, 2, ...: every type once, though nothing can happen to one that all does.
#: An order is placed, confirmed and cancelled before the rest.
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
        ("ReservationMade", ORDER, RESERVATION),
        (
            "ReservationReduced",
            ORDER,
            RESERVATION
            | {"status": "released", "order_version": 3, "lines": [{"sku": "milk", "reserved": 2, "released": 2, "consumed": 0}]},
        ),
        (
            "ReservationRefused",
            ORDER,
            RESERVATION
            | {
                "status": "refused",
                "reason": "not enough stock",
                "lines": [],
                "shortages": [{"sku": "milk", "requested": 2, "available": 0}],
            },
        ),
    ],
    "marea.order": [
        ("OrderPlaced", ORDER, PLACED),
        ("OrderConfirmed", ORDER, SETTLED),
        ("OrderCancelled", ORDER, CANCELLED),
        ("OrderReserved", ORDER, STATE | {"status": "reserved"}),
        ("OrderCancelRequested", ORDER, STOPPING),
        ("OrderCancelDeclined", ORDER, STOPPING | {"status": "confirmed", "reason": "all of it had left the house"}),
        ("OrderLinesLost", ORDER, SETTLED | {"units": [UNITS | {"lost": 1}], "lost_minor": 150, "due_minor": 150}),
        ("OrderDueChanged", ORDER, SETTLED | {"reason": "late", "goodwill_minor": 50, "due_minor": 250}),
        ("OrderLinesCancelled", ORDER, LESS),
        ("OrderAmended", ORDER, LESS | {"status": "confirmed"}),
        ("OrderCreditReturned", ORDER, SETTLED | {"is_credited": True}),
        ("OrderCompleted", ORDER, LESS | {"status": "completed"}),
        ("OrderRejected", ORDER, NOTHING | {"status": "rejected", "reason": "not enough stock"}),
    ],
    "marea.payment": [
        ("PaymentUnknown", ORDER, PAYMENT | {"status": "unknown", "reason": "no answer", "operations": [OPERATION | {"state": "unknown"}]}),
        (
            "PaymentDeclined",
            ORDER,
            PAYMENT
            | {
                "status": "declined",
                "reason": "card_declined",
                "authorized_minor": 0,
                "is_declined": True,
                "operations": [OPERATION | {"state": "failed", "reference": None, "code": "card_declined"}],
            },
        ),
        ("PaymentCardChanged", ORDER, PAYMENT | {"status": "open", "authorized_minor": 0, "operations": []}),
        ("PaymentAuthorized", ORDER, PAYMENT),
        ("AuthorizationExpired", ORDER, PAYMENT | {"authorized_minor": 0, "operations": [OPERATION | {"state": "failed", "code": "expired"}]}),
        ("CaptureFailed", ORDER, PAYMENT | {"operations": [OPERATION, CAPTURE | {"state": "failed", "code": "card_declined"}]}),
        ("PaymentCaptured", ORDER, PAID),
        ("VoidFailed", ORDER, PAID | {"operations": [OPERATION, CAPTURE | {"kind": "void", "state": "failed", "code": "no"}]}),
        ("PaymentVoided", ORDER, PAID | {"operations": [OPERATION, CAPTURE | {"kind": "void"}]}),
        ("RefundFailed", ORDER, PAID | {"operations": [OPERATION, CAPTURE, CAPTURE | {"number": 3, "kind": "refund", "state": "failed"}]}),
        (
            "PaymentRefunded",
            ORDER,
            PAID
            | {
                "status": "refunded",
                "due_minor": 0,
                "refunded_minor": 300,
                "operations": [OPERATION, CAPTURE, CAPTURE | {"number": 3, "kind": "refund", "shipment": None}],
            },
        ),
        ("PaymentDisputed", ORDER, PAID | {"operations": [OPERATION | {"state": "disputed"}, CAPTURE], "cases": [CASE]}),
        ("PaymentRuled", ORDER, PAID | {"reason": "it is on the statement"}),
        ("PaymentSettled", ORDER, PAID | {"order_version": 8, "settled_version": 8}),
    ],
    "marea.fulfilment": [
        ("ShipmentsPlanned", ORDER, FULFILMENT),
        ("ShipmentPacked", ORDER, _shipped("packed")),
        ("ShipmentHeld", ORDER, _shipped("held") | {"cases": [CASE | {"kind": "held"}]}),
        ("ShipmentReady", ORDER, _shipped("ready", tracking=None, days=None, expected_by=None)),
        ("ShipmentLabelled", ORDER, _shipped("ready", expected_by=None)),
        ("FulfilmentAnswered", ORDER, _shipped("ready") | {"answered": {"number": 1, "stopped": [{"sku": "milk", "quantity": 1}]}}),
        ("ShipmentDispatched", ORDER, _shipped("dispatched") | {"status": "shipped"}),
        ("ShipmentOverdue", ORDER, _shipped("overdue") | {"status": "shipped", "cases": [CASE | {"kind": "overdue"}]}),
        ("ShipmentLost", ORDER, _shipped("lost") | {"status": "finished"}),
        ("ShipmentContradicted", ORDER, _shipped("lost", is_contradicted=True) | {"cases": [CASE | {"kind": "contradicted"}]}),
        ("ShipmentRuled", ORDER, _shipped("lost") | {"reason": "seen"}),
        ("ShipmentDelivered", ORDER, _shipped("delivered") | {"status": "finished"}),
    ],
    "marea.returns": [
        ("ReturnRequested", ORDER, RETURNS),
        ("ReturnApproved", ORDER, _returned("approved")),
        ("ReturnReceived", ORDER, _returned("received", expires_at=None)),
        ("ReturnAccepted", ORDER, _returned("accepted", value_minor=150, is_restocked=True, expires_at=None)),
        ("ReturnRefunded", ORDER, _returned("refunded", value_minor=150, is_restocked=True, expires_at=None)),
        ("ReturnRejected", ORDER, _returned("rejected", reason="it was opened", expires_at=None) | {"reason": "it was opened"}),
        ("ReturnCancelled", ORDER, _returned("cancelled", expires_at=None)),
        ("ReturnExpired", ORDER, _returned("expired", expires_at=None)),
    ],
    "marea.exchange": [
        ("ExchangeRequested", _EXCHANGE_ID, EXCHANGE),
        ("ExchangeReturnWanted", _EXCHANGE_ID, EXCHANGE | {"step": "returning"}),
        ("CreditDecided", _EXCHANGE_ID, _CREDITED | {"step": "crediting"}),
        ("ExchangeFinished", _EXCHANGE_ID, _CREDITED | {"step": "finished"}),
        ("ExchangeFailed", _EXCHANGE_ID, EXCHANGE | {"step": "failed", "reason": "it was not finished in time"}),
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
