"""Reading a topic again into one generation of a view or table, without a consumer group."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from time import monotonic

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaException, Message

from schemas.codec import Codec
from streams.engine.batch import Place
from streams.engine.client import batches_of, client_config, fetch, from_position, place_of
from streams.engine.consumer import Table, View, consumer_id
from streams.engine.feed import Feed
from streams.engine.lane import Lane
from streams.engine.stores import Progress, Store

#: Records in one write: ClickHouse wants few large inserts, Redis is served best by ones that do not block it long.
TABLE_RECORDS, VIEW_RECORDS = 50_000, 4_000
#: Bytes of records in one write, about.
BATCH_BYTES = 16_777_216
#: Seconds for which they are gathered.
TABLE_S, VIEW_S = 1.0, 0.05
#: Records taken from the client in one call, and seconds that it may wait for them.
_AT_ONCE, _WAIT_S = 1_000, 0.02
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
        is_table = isinstance(consumer, Table)
        self._most, self._gather_s = (TABLE_RECORDS, TABLE_S) if is_table else (VIEW_RECORDS, VIEW_S)
        self._feed = Feed(consumer_id(consumer), [consumer], store, codec, most_failed)
        self._open: KafkaConsumer | None = None

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
        if not ahead:
            return set()
        client = self._client()
        client.assign([from_position(place, offset) for place, offset in ahead.items()])
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
                    client.incremental_unassign([from_position(batch.place, 0)])
        return lost

    def match(self, live: Mapping[int, Progress]) -> None:
        """Has done with parked events what has been done with the live generation's; after `to`, for its partitions."""
        for partition, progress in live.items():
            place = Place(self._consumer.topic, partition)
            self._feed.match(place, progress, partial(fetch, self._bootstrap))

    def __exit__(self, *error: object) -> None:
        if self._open:
            self._open.close()

    def _client(self) -> KafkaConsumer:
        """Opened right before it is needed: one that has idled meanwhile begins a second later."""
        if self._open is None:
            config = {**client_config(self._bootstrap, "marea.replay"), "queued.min.messages": 20_000}
            self._open = KafkaConsumer(config)
        return self._open

    def _messages(self, ahead: Mapping[Place, int], ends: Mapping[Place, int]) -> list[Message]:
        """What arrives within the time for one write, and none of it beyond its partition's end."""
        found: list[Message] = []
        size, wanted = 0, min(self._most, sum(ends[place] - offset for place, offset in ahead.items()))
        began = monotonic()
        while not found or (len(found) < wanted and size < BATCH_BYTES and monotonic() - began < self._gather_s):
            more = self._client().consume(min(_AT_ONCE, self._most - len(found)), _WAIT_S)
            for message in more:
                if message.error():
                    raise KafkaException(message.error())
            size += sum(map(len, more))
            found += [
                one for one in more if (place := place_of(one)) in ahead and (one.offset() or 0) < ends[place]
            ]
            if not found and monotonic() - began > SILENCE_S:
                raise NothingArrives(
                    f"{self._consumer.topic}: no record for {SILENCE_S:.0f} s at {ahead}, before {ends}"
                )
        return found


def _check(lane: Lane) -> None:
    if lane.trouble:
        raise ReplayStopped(f"{lane} at {lane.position}: {lane.trouble.reason}")
