"""Parked events: what they are, and what operators want of them.

Only the owner of a partition may change what has been made of it. So a retry or a drop is a request, left in the
consumer's own store; the worker that owns the partition carries it out between two batches, within about a second.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from time import monotonic, sleep
from typing import Any, NamedTuple

from uuid_utils import uuid7

from api.services import consumers
from kernel import settings
from kernel.events import codec
from streams.engine.batch import Item, Place, Record, read
from streams.engine.client import fetch
from streams.engine.consumer import Consumer, consumer_id
from streams.engine.feed import Feed
from streams.engine.lane import MOST_FAILED
from streams.engine.rehearsal import Rehearsal
from streams.engine.stores import Action, Dropped, LaneId, Parked, Request, Store
from streams.engine.stores.postgres import PostgresStore
from streams.feeds import feeds, open_store

#: Seconds without a request being carried out, after which nobody is taken to be there.
PATIENCE_S = 60.0
#: Seconds between two looks at whether requests have been carried out.
_PAUSE_S = 0.2
#: How much is shown of the bytes of a record that can't be decoded.
SHOWN_BYTES = 512


class NotParked(Exception):
    """There is no such consumer, or nothing of it is parked there. The text says what there is."""


class NotCarriedOut(Exception):
    """Nobody has carried out what was asked for."""


@dataclass(frozen=True)
class Aggregate:
    """What one consumer has parked of one aggregate, in order of version, then offset."""

    consumer: Consumer
    lane: LaneId
    key: str
    events: tuple[Parked, ...]

    @property
    def head(self) -> Parked:
        """The event that the others wait for."""
        return next((one for one in self.events if one.cause != "waits"), self.events[0])

    @property
    def place(self) -> Place:
        """Where the events are."""
        return Place(self.consumer.topic, self.lane.partition)

    def as_json(self) -> dict[str, Any]:
        """One line of `list --json`."""
        head = self.head
        return {
            "consumer": self.lane.consumer,
            "partition": self.lane.partition,
            "key": self.key,
            "events": len(self.events),
            "cause": head.cause,
            "reason": head.reason,
            "since": head.since.isoformat(),
        }


class Shown(NamedTuple):
    """A parked event, and what its record says: the headers, and the event's data or the first bytes of its value."""

    parked: Parked
    headers: dict[str, str]
    data: dict[str, Any] | None
    value_hex: str
    size: int


@dataclass(frozen=True)
class Outcome:
    """What became of an aggregate's parked events, or would: so many are applied and dropped, the rest still fails."""

    consumer: str
    partition: int
    key: str
    applied: int
    dropped: int
    left: int
    reason: str

    @property
    def sentence(self) -> str:
        """All of it in words."""
        done = [
            f"{verb} {count} event{'s' if count > 1 else ''}"
            for verb, count in (("dropped", self.dropped), ("applied", self.applied))
            if count
        ]
        if self.left:
            done.append(f"{self.left} still parked: {self.reason}")
        return ", ".join(done) or "nothing is parked any more"


class Desk:
    """Looks into the consumers' stores, and leaves requests there."""

    def __init__(self) -> None:
        self._consumers = {consumer_id(consumer): consumer for consumer in consumers()}
        self._feeds = {consumer_id(each): name for name, (mine, _) in feeds().items() for each in mine}
        self._stores: dict[str, Store] = {}

    def find(self, name: str) -> str:
        """The consumer that is meant: `view.order`, or just `order` when there is one of that name."""
        found = [each for each in self._consumers if name in (each, self._consumers[each].name)]
        if len(found) != 1:
            what = f"{name!r} may be any of {', '.join(found)}" if found else f"there is no consumer {name!r}"
            raise NotParked(f"{what}: there are {', '.join(self._consumers)}")
        return found[0]

    def aggregates(self, names: Iterable[str] | None = None) -> list[Aggregate]:
        """What is parked, of all consumers unless told which."""
        return [one for name in (self._consumers if names is None else names) for one in self._aggregates(name)]

    def aggregate(self, consumer: str, key: str) -> Aggregate:
        """What is parked of one aggregate. Raises NotParked."""
        for one in self._aggregates(consumer):
            if one.key == key:
                return one
        raise NotParked(f"{consumer} has parked nothing of {key!r}: see what it has with `list {consumer}`")

    def show(self, aggregate: Aggregate) -> list[Shown]:
        """What the records say. Raises NotParked when the topic does not have them."""
        place, decoder = aggregate.place, codec()
        try:
            records = fetch(settings.kafka(), place, [one.offset for one in aggregate.events])
        except LookupError as error:
            raise NotParked(str(error)) from error
        return [
            _shown(parked, record, read(record, decoder, place.topic))
            for parked, record in zip(aggregate.events, records, strict=True)
        ]

    def retry(self, aggregates: Sequence[Aggregate]) -> list[Outcome]:
        """Has them tried again. Raises NotCarriedOut."""
        return self._ask([(one, _request(one, "retry")) for one in aggregates])

    def drop(self, aggregates: Sequence[Aggregate], reason: str) -> list[Outcome]:
        """Has the event of each dropped that the others wait for, and these applied. Raises NotCarriedOut."""
        return self._ask([(one, _request(one, "drop", reason)) for one in aggregates])

    def dropped(self, names: Iterable[str] | None = None) -> list[tuple[LaneId, int, Dropped]]:
        """What operators have dropped, of all consumers unless told which: where, at which offset, why and when."""
        return [
            (lane, offset, fact)
            for name in (self._consumers if names is None else names)
            for lane, progress in self._store(name).progress(self._lanes(name)).items()
            if progress.dropped
            for offset, fact in sorted(self._store(name).dropped(lane).items())
        ]

    def rehearse_retry(self, aggregate: Aggregate) -> Outcome:
        """What a retry would do."""
        return self._rehearse(aggregate, _request(aggregate, "retry"))

    def rehearse_drop(self, aggregate: Aggregate) -> Outcome:
        """What a drop would do."""
        return self._rehearse(aggregate, _request(aggregate, "drop"))

    def pass_by(self, consumer: str, reason: str) -> list[int]:
        """Lets a consumer that has stopped go past what its code fails on: that is parked, and counts no longer.

        Gives the partitions. Raises NotParked when it has stopped nowhere, or NotCarriedOut.
        """
        stopped = self.stopped(consumer)
        requests = [Request(str(uuid7()), LaneId(consumer, partition), "pass", "", reason) for partition in stopped]
        self._await(self._store(consumer), requests)
        return stopped

    def stopped(self, consumer: str) -> list[int]:
        """The partitions in which a consumer has stopped. Raises NotParked when it has stopped nowhere."""
        found = self._store(consumer).progress(self._lanes(consumer))
        stopped = [lane.partition for lane, at in found.items() if at.counted >= MOST_FAILED]
        if not stopped:
            raise NotParked(f"{consumer} has not stopped: fewer than {MOST_FAILED} events of a partition have failed")
        return stopped

    def _aggregates(self, consumer: str) -> Iterator[Aggregate]:
        store = self._store(consumer)
        for lane, progress in store.progress(self._lanes(consumer)).items():
            events: dict[str, list[Parked]] = {}
            for one in store.parked(lane) if progress.parked else ():
                events.setdefault(one.key, []).append(one)
            for key, mine in sorted(events.items()):
                yield Aggregate(self._consumers[consumer], lane, key, tuple(mine))

    def _ask(self, wanted: Sequence[tuple[Aggregate, Request]]) -> list[Outcome]:
        for name in sorted({one.lane.consumer for one, _ in wanted}):
            self._await(self._store(name), [request for one, request in wanted if one.lane.consumer == name])
        return [self._outcome(one, request) for one, request in wanted]

    def _await(self, store: Store, requests: Sequence[Request]) -> None:
        """Leaves requests, and waits for as long as they become fewer."""
        store.ask(requests)
        lanes = sorted({request.lane for request in requests})
        left = {request.id for request in requests}
        deadline = monotonic() + PATIENCE_S
        while left:
            if monotonic() > deadline:
                raise NotCarriedOut(
                    f"{lanes[0].consumer} has not carried out {len(left)} of {len(requests)} requests: no worker reads"
                    f" its partitions, or its store does not answer (see ./marea status); they stay until one does"
                )
            sleep(_PAUSE_S)
            still = left & {request.id for request in store.requests(lanes)}
            if still != left:
                left, deadline = still, monotonic() + PATIENCE_S

    def _outcome(self, before: Aggregate, request: Request) -> Outcome:
        store = self._store(before.lane.consumer)
        store.progress([before.lane])  # another generation may be live by now
        after = store.parked(before.lane, before.key)
        gone = {one.offset for one in before.events} - {one.offset for one in after}
        reason = Aggregate(before.consumer, before.lane, before.key, tuple(after)).head.reason if after else ""
        return _outcome(before, gone, request.offset, len(after), reason)

    def _rehearse(self, aggregate: Aggregate, request: Request) -> Outcome:
        """The feed's own code, over the real store, and nothing is kept."""
        store = self._store(aggregate.lane.consumer)
        in_database = isinstance(store, PostgresStore)
        with store.rehearsing() if isinstance(store, PostgresStore) else nullcontext():
            rehearsal = Rehearsal(store, request, store.apply) if in_database else Rehearsal(store, request)
            feed = Feed("rehearsal", [aggregate.consumer], rehearsal, codec())
            feed.assign([aggregate.place])
            feed.carry_out(partial(fetch, settings.kafka()))
        gone = {offset for write in rehearsal.writes for offset in write.unparked}
        reasons = [one.reason for write in rehearsal.writes for one in write.parked] or [aggregate.head.reason]
        return _outcome(aggregate, gone, request.offset, len(aggregate.events) - len(gone), reasons[-1])

    def _lanes(self, consumer: str) -> list[LaneId]:
        return [LaneId(consumer, partition) for partition in range(settings.partitions())]

    def _store(self, consumer: str) -> Store:
        feed = self._feeds[consumer]
        if feed not in self._stores:
            self._stores[feed] = open_store(feed)
        return self._stores[feed]


def _request(aggregate: Aggregate, action: Action, reason: str = "") -> Request:
    offset = aggregate.head.offset if action == "drop" else -1
    return Request(str(uuid7()), aggregate.lane, action, aggregate.key, reason, offset)


def _outcome(before: Aggregate, gone: set[int], dropped: int, left: int, reason: str) -> Outcome:
    return Outcome(
        *before.lane, before.key, len(gone - {dropped}), len(gone & {dropped}), left, reason if left else ""
    )


def _shown(parked: Parked, record: Record, item: Item) -> Shown:
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    value = record.value or b""
    if item.event:
        return Shown(parked, headers, item.event.data, "", item.size)
    return Shown(parked, headers, None, value[:SHOWN_BYTES].hex(), item.size)
