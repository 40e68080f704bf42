"""There is one way out of a service."""

import re
from pathlib import Path
from typing import Any

import pytest

from api.catalog.models import Description
from api.orders.models import NewOrder
from api.payments.rules import MOST_OPERATIONS
from api.shipping.returns import MOST_RETURNED, MOST_RETURNS
from api.shipping.rules import MOST_LINES
from kernel.limits import MAX_EVENT_BYTES, MAX_KEY_BYTES, MAX_NUMBER
from kernel.outbox import NotOwned, Outbox
from kernel.refusals import TooLarge
from schemas import order
from schemas.codec import TYPES
from schemas.event import Event
from tests.events import CODEC, LINE, START, life

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "kernel", "streams", "api", "connectors", "ops", "local", "demo", "cli", "bench")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def sources_with(pattern: str) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in SOURCES if re.search(pattern, path.read_text())]


def test_nothing_else_inserts_into_an_outbox() -> None:
    assert sources_with(r"(?i)(insert\s+into|copy)\s+(\w+\.|\{\w+\}\.)?outbox") == ["kernel/outbox.py"]


def test_nothing_has_a_producer_of_its_own() -> None:
    assert sources_with(r"\b(Producer|AIOProducer|SerializingProducer|KafkaProducer)\b") == []


class Statements:
    """A cursor that keeps what it is asked to execute."""

    def __init__(self) -> None:
        self.executed: list[tuple[str, Any]] = []

    def execute(self, sql: str, params: Any) -> None:
        self.executed.append((sql, params))

    def fetchone(self) -> None:
        return None


OUTBOX = Outbox[Any]("orders", (order.TOPIC,), lambda: CODEC)
[PLACED, *_] = life("marea.order")
[RECEIVED, *_] = life("marea.stock")


def refused(event: Event, refusal: type[Exception], match: str) -> None:
    """Either way to publish it is refused, and nothing is written."""
    cursor = Statements()
    with pytest.raises(refusal, match=match):
        OUTBOX.publish(cursor, [PLACED, event])
    with pytest.raises(refusal, match=match):
        OUTBOX.change(cursor, "UPDATE", (), event)
    assert cursor.executed == []


def test_nothing_is_published_in_a_topic_of_another_service() -> None:
    refused(RECEIVED, NotOwned, r"orders does not own marea\.stock, so it can't publish StockReceived")


def of_size(size: int) -> Event:
    """An order of one line, whose event has so many bytes."""
    long = PLACED.data | {"lines": [LINE | {"name": "a" * 1_500_000}]}
    name = "a" * (1_500_000 + size - len(CODEC.encode("OrderPlaced", long)))
    return PLACED._replace(data=PLACED.data | {"lines": [LINE | {"name": name}]})


def test_an_event_that_could_not_be_carried_is_refused() -> None:
    refused(of_size(MAX_EVENT_BYTES + 1), TooLarge, r"an event of 2,000,001 bytes \(OrderPlaced\), and 2,000,000 is the most")


def test_the_largest_event_is_published() -> None:
    cursor = Statements()
    OUTBOX.publish(cursor, [of_size(MAX_EVENT_BYTES)])
    [(_, columns)] = cursor.executed
    assert [len(payload) for payload in columns[5]] == [MAX_EVENT_BYTES]


def test_a_key_that_no_consumer_would_take_is_refused() -> None:
    refused(PLACED._replace(key="a" * (MAX_KEY_BYTES + 1)), TooLarge, "An id can have 200 bytes")


#: What the API allows: the longest text, in characters of four bytes, the most lines, and the longest id.
TEXT = "\U0001f41f" * Description.model_json_schema()["properties"]["name"]["maxLength"]
LINES = NewOrder.model_json_schema()["properties"]["lines"]["maxItems"]
ID = "a" * 64
IDS = {"sku", "order_id", "new_order_id", "exchange_id", "customer_id", "currency", "card_token", "reference", "code", "tracking"}
#: What is not one of an order's lines: shipments share these, and of the rest the rules say how many there can be.
MOST = {
    "shipments": LINES // MOST_LINES,
    "shipments_lost": LINES // MOST_LINES,
    "operations": MOST_OPERATIONS,
    "cases": MOST_OPERATIONS,
    "returns": MOST_RETURNS,
    "returns_taken": MOST_RETURNS,
}
WITHIN = {"shipments": MOST_LINES, "returns": MOST_RETURNED // MOST_RETURNS}
#: What is not the sender's is short.
OURS = {"status", "step", "kind", "state"}


def largest(schema: Any, field: str = "", lines: int = LINES) -> Any:
    match schema:
        case {"type": "record", "fields": fields}:
            return {each["name"]: largest(each["type"], each["name"], lines) for each in fields}
        case {"type": "array", "items": items}:
            return [largest(items, field, WITHIN.get(field, lines))] * MOST.get(field, lines)
        case {"logicalType": "timestamp-micros"}:
            return START
        case ["null", other]:
            return largest(other, field)
        case "string":
            return field if field in OURS else ID if field in IDS else TEXT
    return 2**31 - 1 if schema == "int" else MAX_NUMBER


@pytest.mark.parametrize("type_", TYPES)
def test_whatever_the_api_accepts_can_be_carried(type_: str) -> None:
    """Events of reactions, too: nobody could be told that one is too large."""
    assert len(CODEC.encode(type_, largest(TYPES[type_].schema))) <= MAX_EVENT_BYTES
