"""Bytewax: a dataflow from its Kafka source to a sink of our own, which gets what one poll of a partition gave.

`python -m bytewax.run bench.peers.with_bytewax:flow`, with a recovery folder and a snapshot every 5 s.
"""

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from bench.peers.orders import BATCH, BROKER, TOPIC, Orders


class _Writer(StatelessSinkPartition):
    def __init__(self) -> None:
        self._orders = Orders()

    def write_batch(self, items: list[KafkaSourceMessage]) -> None:
        self._orders.write((item.key, item.value, item.headers) for item in items)


class _Rows(DynamicSink):
    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Writer:
        return _Writer()


flow = Dataflow("orders")
events = op.input("events", flow, KafkaSource([BROKER], [TOPIC], batch_size=BATCH))
op.output("rows", events, _Rows())
