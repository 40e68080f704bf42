"""Quix Streams: a dataframe into a batching sink, which writes a partition's records at each checkpoint."""

from quixstreams import Application
from quixstreams.sinks import BatchingSink, SinkBatch

from bench.peers.orders import BATCH, BROKER, GROUP, TOPIC, Orders

#: Seconds after which a checkpoint is made, and what there is of a batch written. With the default, 5, the topic's last
#: events would wait for longer than all others took.
LINGER_S = 0.2


class _Rows(BatchingSink):
    def __init__(self) -> None:
        super().__init__()
        self._orders = Orders()

    def write(self, batch: SinkBatch) -> None:
        self._orders.write((item.key, item.value, item.headers) for item in batch)


if __name__ == "__main__":
    app = Application(
        BROKER,
        consumer_group=GROUP,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        commit_every=BATCH,
        commit_interval=LINGER_S,
        loglevel="WARNING",
    )
    topic = app.topic(TOPIC, key_deserializer="bytes", value_deserializer="bytes")
    app.dataframe(topic).sink(_Rows())
    app.run()
