"""Reading topics again into one generation of a view or table, without a consumer group."""

from collections.abc import Callable, Mapping

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaException, TopicPartition

from schemas.codec import Codec
from streams.engine.batch import Batch
from streams.engine.consumer import Consumer, Table
from streams.engine.runtime import Runtime
from streams.engine.source import by_partition, client_config
from streams.engine.stores import Store

#: Records in one write: ClickHouse wants few large inserts, Redis is served best by ones that do not block it long.
TABLE_RECORDS, VIEW_RECORDS = 50_000, 4_000
#: Seconds without a record, before the end is reached, after which the broker is taken to be gone.
SILENCE_S = 30.0


class NothingArrives(Exception):
    """Offsets that the topic should have did not arrive."""


def replay(
    consumer: Consumer,
    store: Store,
    codec: Codec,
    bootstrap: str,
    ends: Mapping[int, int],
    on_records: Callable[[int], None] = lambda count: None,
) -> set[int]:
    """Applies each partition from its stored position up to, but without, its end.

    Gives the partitions that somebody else has taken over meanwhile. `on_records` hears how many records each
    write had. Raises NothingArrives, or what the store raises.
    """
    runtime = Runtime(consumer, store, codec)
    positions = runtime.assign(list(ends))
    pending = {p: end for p, end in ends.items() if positions[p] < end}
    lost: set[int] = set()
    kafka = KafkaConsumer({**client_config(bootstrap, "marea.replay"), "fetch.message.max.bytes": 4_194_304})
    try:
        kafka.assign([TopicPartition(consumer.topic, p, positions[p]) for p in pending])
        while pending:
            batches = _next_batches(kafka, consumer, positions, pending)
            for partition in runtime.handle(batches):
                lost.add(partition)
            for batch in batches:
                positions[batch.partition] = batch.end
                on_records(len(batch.records))
                if batch.end >= pending[batch.partition] or batch.partition in lost:
                    del pending[batch.partition]
                    kafka.incremental_unassign([TopicPartition(consumer.topic, batch.partition)])
    finally:
        kafka.close()
    return lost


def _next_batches(
    kafka: KafkaConsumer, consumer: Consumer, positions: Mapping[int, int], pending: Mapping[int, int]
) -> list[Batch]:
    """What has arrived, and none of it beyond its partition's end."""
    most = TABLE_RECORDS if isinstance(consumer, Table) else VIEW_RECORDS
    first = kafka.poll(SILENCE_S)
    if first is None:
        raise NothingArrives(f"{consumer.topic}: no record for {SILENCE_S:.0f} s at {positions}, before {pending}")
    messages = [first, *kafka.consume(most - 1, 0.05)]
    for message in messages:
        if message.error():
            raise KafkaException(message.error())
    batches = []
    for partition, records in by_partition(messages).items():
        within = [record for record in records if record.offset < pending.get(partition, 0)]
        if within:
            batches.append(Batch(partition, positions[partition], within[-1].offset + 1, within))
    return batches
