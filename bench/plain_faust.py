"""What the fold of the `order` view costs in an ordinary Faust agent: an event at a time.

It keeps its rows in a dict and writes nothing, so it does less than the view. Run it with
`faust -A bench.plain_faust worker`: it reads marea.order from the beginning, and after PLAIN_FAUST_EVENTS
events prints how many it has folded a second.
"""

import os
import sys
from time import perf_counter
from typing import Any
from uuid import uuid4

import faust

from kernel import settings
from kernel.events import codec
from streams.engine.batch import Record, decode
from streams.engine.consumer import Row
from streams.views.orders.order import TOPIC, fold

EVENTS = int(os.environ["PLAIN_FAUST_EVENTS"])

app = faust.App(
    f"plain-{uuid4().hex}",
    broker=f"kafka://{settings.kafka()}",
    store="memory://",
    topic_disable_leader=True,
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
)
topic = app.topic(TOPIC, key_serializer="raw", value_serializer="raw")


@app.agent(topic)
async def order(stream: Any) -> None:
    """Folds every event; the clock starts at the first."""
    rows: dict[str, Row | None] = {}
    folded, started = 0, 0.0
    async for event in stream.events():
        started = started or perf_counter()
        message = event.message
        decoded = decode(Record(message.offset, message.key, message.value, message.headers), codec(), TOPIC)
        rows[decoded.key] = fold(rows.get(decoded.key), decoded)
        folded += 1
        if folded == EVENTS:
            # Faust sends sys.stdout to its log.
            print(folded / (perf_counter() - started), file=sys.__stdout__, flush=True)
