"""What Python knows of events is what the .avsc say, and mypy sees to it that nothing else is said of them."""

import re
import subprocess
import sys
from pathlib import Path

from schemas.generate import COMMAND, stale

ROOT = Path(__file__).parents[2]

#: Lines that are wrong say so, with what mypy has to find there.
CODE = """
from collections.abc import Sequence

from psycopg2.extensions import cursor as Cursor

from kernel.context import Context
from kernel.outbox import Outbox
from schemas import order, stock
from schemas.order import OrderConfirmed, OrderEvent
from schemas.stock import StockEvent, StockReceived
from streams.engine.batch import Record, decode
from streams.engine.consumer import Reaction
from tests.events import CODEC


def fold(event: OrderEvent) -> object:
    if event.type == "OrderPlced":  # wrong: comparison-overlap
        return event.key
    if event.type == "OrderPlaced":
        return event.data["lines"][0]["brnad"]  # wrong: typeddict-item
    if event.type == "OrderRejected":
        return event.data["reason"], event.data["status"] == "rejcted"  # wrong: comparison-overlap
    return event.data["totl_minor"], event.type  # wrong: typeddict-item


def rule(context: Context) -> StockReceived:
    if context.now.year > 2026:
        return context.event("StockRecieved", "milk", 1, {"sku": "milk", "quantity": 1, "on_hand": 1, "reserved": 0})  # wrong: arg-type
    return context.event("StockReceived", "milk", 1, {"sku": "milk", "quantity": 1, "on_hand": 1, "reservd": 0, "reserved": 0})  # wrong: typeddict-unknown-key


def publish(outbox: Outbox[OrderEvent], cursor: Cursor, confirmed: OrderConfirmed, received: StockReceived) -> None:
    outbox.publish(cursor, [confirmed])
    outbox.publish(cursor, [received])  # wrong: list-item


def react(cursor: Cursor, events: Sequence[StockEvent]) -> None:
    streamed: StockEvent = decode(Record(0, None, None, ()), CODEC, stock.TOPIC)
    other: StockEvent = decode(Record(0, None, None, ()), CODEC, order.TOPIC)  # wrong: assignment


Reaction("right", "orders", stock.TOPIC, frozenset(), react, lambda states: iter(()), "")
Reaction("wrong", "orders", order.TOPIC, frozenset(), react, lambda states: iter(()), "")  # wrong: arg-type
"""


def test_what_is_generated_is_what_the_schemas_say() -> None:
    assert stale() == [], f"run `{COMMAND}`"


def test_a_misspelt_type_or_field_or_another_topics_event_is_an_error_of_mypy(tmp_path: Path) -> None:
    path = tmp_path / "snippet.py"
    path.write_text(CODE)
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(path)]
    told = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True).stdout
    found = {(int(line), code) for line, code in re.findall(r"^\S*snippet\.py:(\d+): error: .*\[([a-z-]+)\]$", told, re.MULTILINE)}
    wrong = {
        (number, line.rpartition(": ")[2])
        for number, line in enumerate(CODE.splitlines(), 1)
        if "# wrong: " in line
    }
    assert found == wrong, told


def test_types_of_events_are_compared_in_a_way_that_mypy_checks() -> None:
    """It finds a misspelt one after == or !=, and not after `in`."""
    sources = [path for folder in ("api", "streams/views", "streams/tables") for path in (ROOT / folder).rglob("*.py")]
    assert [path for path in sources if re.search(r"\.type (not )?in\b", path.read_text())] == []
