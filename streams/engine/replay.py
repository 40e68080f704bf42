"""Reading a topic again into one generation of a view or table, without a consumer group."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from time import monotonic

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaException, Message

from schemas.codec import Codec
from streams.engine.batch import Place
from streams.engine.consumer import Table, View, consumer_id
from streams.engine.feed import Feed
from streams.engine.lane import Lane
from streams.engine.source import batches_of, client_config, fetch, from_position, place_of
from streams.engine.stores import Progress, Store

#: Records in one write: ClickHouse wants few large inserts, Redis is served best by ones that do not block it long.
TABLE_RECORDS, VIEW_RECORDS = 50_000, 4_000
#: Bytes of records in one write, about.
BATCH_BYTES = 16_777_216
#: Records taken from the client in one call.
_AT_ONCE = 1_000
#: Seconds without a record, before the end is reached, after which the broker is taken to be gone.
SILENCE_S = 30.0


class NothingArrives(Exception):
    """Offsets that the topic should have did not arrive."""


class ReplayStopped(Exception):
    """Our own code fails on the topic's events: what it would make is not worth having."""


class Replay(AbstractContextManager["Replay"]):
    """Applies a topic to one generation, from its stored positions on, as far as it is told; for a `with`."""

    def __init__(
        self, consumer: View | Table, store: Store, codec: Codec, bootstrap: str, most_failed: int
    ) -> None:
        self._consumer = consumer
        self._bootstrap = bootstrap
        self._most = TABLE_RECORDS if isinstance(consumer, Table) else VIEW_RECORDS
        self._feed = Feed(consumer_id(consumer), [consumer], store, codec, most_failed)
        config = {**client_config(bootstrap, "marea.replay"), "queued.min.messages": 20_000}
        self._client = KafkaConsumer(config)

    def to(
        self, ends: Mapping[int, int], on_records: Callable[[int], None] = lambda count: None
    ) -> set[int]:
        """Applies each partition up to, but without, its end.

        Gives the partitions that somebody else has taken over meanwhile. `on_records` hears how many records each
        write had. Raises NothingArrives, ReplayStopped, or what the store raises.
        """
        places = {Place(self._consumer.topic, partition): end for partition, end in ends.items()}
        starts = self._feed.assign(list(places))
        ahead = {place: offset for place, offset in starts.items() if offset < places[place]}
        self._client.assign([from_position(place, offset) for place, offset in ahead.items()])
        lost: set[int] = set()
        while ahead:
            messages = self._messages(ahead, places)
            batches = batches_of(self._feed, messages, ahead)
            self._feed.handle(batches)
            for batch in batches:
                on_records(len(batch.items))
                lane = self._feed.lane(batch.place)
                _check(lane)
                if lane.position != batch.end:
                    lost.add(batch.place.partition)
                if batch.end >= places[batch.place] or batch.place.partition in lost:
                    del ahead[batch.place]
                    self._client.incremental_unassign([from_position(batch.place, 0)])
        return lost

    def match(self, live: Mapping[int, Progress]) -> None:
        """Has done with parked events what has been done with the live generation's; after `to`, for its partitions."""
        for partition, progress in live.items():
            place = Place(self._consumer.topic, partition)
            self._feed.match(place, progress, partial(fetch, self._bootstrap))

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def _messages(self, ahead: Mapping[Place, int], ends: Mapping[Place, int]) -> list[Message]:
        """What has arrived, and none of it beyond its partition's end."""
        found: list[Message] = []
        size = 0
        silent_since = monotonic()
        while not found:
            while len(found) < self._most and size < BATCH_BYTES:
                more = self._client.consume(min(_AT_ONCE, self._most - len(found)), 0.05)
                for message in more:
                    if message.error():
                        raise KafkaException(message.error())
                size += sum(map(len, more))
                found += [
                    one
                    for one in more
                    if (place := place_of(one)) in ahead and (one.offset() or 0) < ends[place]
                ]
                if len(more) < _AT_ONCE:
                    break
            if not found and monotonic() - silent_since > SILENCE_S:
                raise NothingArrives(
                    f"{self._consumer.topic}: no record for {SILENCE_S:.0f} s at {ahead}, before {ends}"
                )
        return found


def _check(lane: Lane) -> None:
    if lane.trouble:
        raise ReplayStopped(f"{lane} at {lane.position}: {lane.trouble.reason}")
