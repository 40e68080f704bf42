"""Plain Faust: an agent over its own consumer, which takes events in batches.

`faust -A bench.peers.with_faust worker`.
"""

from typing import Any

import faust

from bench.peers.orders import BATCH, BROKER, GROUP, TOPIC, Orders

#: Seconds after which a batch is written that is not full.
LINGER_S = 0.1

app = faust.App(
    GROUP,
    broker=f"kafka://{BROKER}",
    store="memory://",
    topic_disable_leader=True,
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
)
topic = app.topic(TOPIC, key_serializer="raw", value_serializer="raw")


@app.agent(topic)
async def orders(stream: Any) -> None:
    """Writes every batch."""
    rows = Orders()
    async for events in stream.take_events(BATCH, within=LINGER_S):
        messages = [event.message for event in events]
        rows.write((message.key, message.value, message.headers) for message in messages)
