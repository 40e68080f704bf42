"""sentry-arroyo: a stream processor whose strategies batch, write, and commit."""

import signal
from collections.abc import Mapping

from arroyo.backends.kafka import KafkaConsumer, KafkaPayload
from arroyo.backends.kafka.configuration import build_kafka_consumer_configuration
from arroyo.processing import StreamProcessor
from arroyo.processing.strategies import BatchStep, CommitOffsets, ProcessingStrategyFactory, RunTask
from arroyo.processing.strategies.batching import ValuesBatch
from arroyo.types import Commit, Message, Partition, Topic

from bench.peers.orders import BATCH, BROKER, GROUP, TOPIC, Orders

#: Seconds after which a batch is written that is not full.
LINGER_S = 0.1


class _Rows(ProcessingStrategyFactory):
    def __init__(self) -> None:
        self._orders = Orders()

    def create_with_partitions(self, commit: Commit, partitions: Mapping[Partition, int]) -> BatchStep:
        return BatchStep(BATCH, LINGER_S, RunTask(self._write, CommitOffsets(commit)))

    def _write(self, message: Message[ValuesBatch[KafkaPayload]]) -> None:
        payloads = (value.payload for value in message.payload)
        self._orders.write((payload.key, payload.value, payload.headers) for payload in payloads)


if __name__ == "__main__":
    settings = build_kafka_consumer_configuration({}, GROUP, "earliest", bootstrap_servers=[BROKER])
    processor = StreamProcessor(KafkaConsumer(settings), Topic(TOPIC), _Rows())
    signal.signal(signal.SIGTERM, lambda number, frame: processor.signal_shutdown())
    processor.run()
