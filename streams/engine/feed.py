"""Everything that is made from Kafka for one sink: each batch goes to every consumer that wants it.

A feed knows lanes and their store, and neither Kafka nor Faust. A lane that stands still by itself (it waits for
something, its code fails, its partition has lost history) is detached: the others go on, and the replayer serves it
until it has caught up. A sink that is down raises, and detaches nobody.
"""

import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from schemas.codec import Codec
from streams.engine.batch import Batch, Item, Place, Record, read
from streams.engine.consumer import Consumer, NotYet, consumer_id
from streams.engine.lane import MOST_FAILED, Lane, Trouble, lane_of, reason_of
from streams.engine.signals import Signals
from streams.engine.stores import LaneId, Progress, Refused, Request, Store, Wanted, Write

log = logging.getLogger(__name__)

#: Records that an attached lane may be behind the furthest of its partition: so many are read again to take it back.
CLOSE = 2_000
#: Seconds for which something that is not there yet is waited for; then its event is parked.
PATIENCE_S = 60.0
#: Seconds between two tries of a lane that stands still: the first, and the most.
FIRST_PAUSE_S, MOST_PAUSE_S = 0.05, 10.0
#: Aggregates whose parked events are tried again in one go of `carry_out`: batches wait meanwhile.
RETRIES_AT_ONCE = 20

#: Gives the records at these offsets of a partition, in this order. Raises LookupError when one is not there.
Fetch = Callable[[Place, Sequence[int]], list[Record]]


class Feed:
    """The consumers of one sink, in the partitions that are assigned. Not for concurrent use."""

    def __init__(
        self,
        name: str,
        consumers: Iterable[Consumer],
        store: Store,
        codec: Codec,
        most_failed: int = MOST_FAILED,
    ) -> None:
        self.name = name
        self._most_failed = most_failed
        self._consumers: dict[str, list[Consumer]] = {}
        for consumer in consumers:
            self._consumers.setdefault(str(consumer.topic), []).append(consumer)
        mine = [consumer for each in self._consumers.values() for consumer in each]
        self.signals = Signals(name, map(consumer_id, mine))
        self._store = store
        self._codec = codec
        self._lanes: dict[Place, list[Lane]] = {}

    @property
    def topics(self) -> list[str]:
        """What has to be read."""
        return sorted(self._consumers)

    def batch(self, place: Place, start: int, records: Sequence[Record]) -> Batch:
        """Records as a batch, each decoded once for all consumers."""
        items = [read(record, self._codec, place.topic) for record in records]
        return Batch(place, start, items[-1].offset + 1, items)

    def assign(self, places: Sequence[Place]) -> dict[Place, int]:
        """Takes partitions on, each from its lanes' stored positions; gives from where to read.

        Lanes that are far behind the furthest are detached: the others need not wait for them.
        """
        wanted = {
            LaneId(consumer_id(consumer), place.partition): (place, consumer)
            for place in places
            for consumer in self._consumers[place.topic]
        }
        self.revoke(places)
        for lane_id, progress in self._store.progress(list(wanted)).items():
            place, consumer = wanted[lane_id]
            self._lanes.setdefault(place, []).append(
                lane_of(consumer, lane_id, progress, self._most_failed)
            )
        return {place: self._start(place) for place in places}

    def revoke(self, places: Iterable[Place]) -> None:
        """Lets partitions go: batches of theirs that are still under way are ignored."""
        for place in places:
            self._lanes.pop(place, None)

    def handle(self, batches: Sequence[Batch]) -> None:
        """Applies batches, at most one a partition, to the attached lanes.

        Raises one of the store's `unavailable` errors when the sink is down: then the same batches have to come
        again, which is safe whatever had been applied.
        """
        self._run(
            [(lane, batch) for batch in batches for lane in self._lanes.get(batch.place, ()) if lane.attached]
        )

    def replay(self, batches: Sequence[Batch]) -> None:
        """As `handle`, for the detached lanes that are to be served now."""
        now = time.time()
        self._run(
            [
                (lane, batch)
                for batch in batches
                for lane in self._lanes.get(batch.place, ())
                if _is_due(lane, now) and batch.start <= lane.position
            ]
        )

    @property
    def has_detached(self) -> bool:
        """Whether any lane is left to the replayer."""
        return not all(lane.attached for lanes in self._lanes.values() for lane in lanes)

    def due(self) -> dict[Place, int]:
        """From where detached lanes have to be served now."""
        now = time.time()
        found: dict[Place, int] = {}
        for place, lanes in self._lanes.items():
            positions = [lane.position for lane in lanes if _is_due(lane, now)]
            if positions:
                found[place] = min(positions)
        return found

    def attach(self, ahead: Mapping[Place, int]) -> dict[Place, int]:
        """Takes back the lanes that have caught up with `ahead`, the next offsets of what is read for all.

        Gives from where to read again, where that is needed: the other lanes skip what they have.
        """
        again: dict[Place, int] = {}
        for place, lanes in self._lanes.items():
            for lane in lanes:
                if lane.attached or lane.trouble or place not in ahead or ahead[place] - lane.position > CLOSE:
                    continue
                lane.attached = True
                if lane.position < ahead[place]:
                    again[place] = min(lane.position, again.get(place, lane.position))
        return again

    def stand_still(self, place: Place, reason: str) -> None:
        """The partition can't be read: all of its lanes wait, and say so."""
        for lane in self._lanes.get(place, ()):
            self.signals.failed(lane.id.consumer, "lost")
            _stand_still(lane, reason)

    def recheck(self) -> None:
        """Compares where the lanes are with where the store has them.

        A store that comes back from a crash or a failover may have lost what it had acknowledged last, or somebody
        else may have taken over. Without this, only the partition's next event would show it.
        """
        lanes = {lane.id: lane for lane in self._every_lane()}
        if not lanes:
            return
        stored = self._store.positions(list(lanes))
        moved = [lane_id for lane_id, position in stored.items() if position != lanes[lane_id].stored]
        for lane_id, progress in (self._store.progress(moved) if moved else {}).items():
            lane = lanes[lane_id]
            log.warning("%s: the store is at %d, and was left at %d", lane, progress.position, lane.stored)
            self.signals.rewound(lane.id.consumer, "store_behind" if progress.position < lane.stored else "fenced")
            _move(lane, progress)

    def carry_out(self, fetch: Fetch) -> None:
        """Does what operators want of parked events, and tries again what may be applied by now."""
        lanes = {lane.id: lane for lane in self._every_lane()}
        places = {lane.id: place for place, lanes in self._lanes.items() for lane in lanes}
        requests = self._store.requests(list(lanes)) if lanes else []
        for request in requests[:RETRIES_AT_ONCE]:
            log.warning("%s: %s %s %s", lanes[request.lane], request.action, request.key, request.reason)
            self._carry_out(request, lanes[request.lane], places[request.lane], fetch)
            self._store.finish(request)
        now = time.time()
        due = [(lane, key) for lane in lanes.values() for key in sorted(lane.due(now))]
        for lane, key in due[:RETRIES_AT_ONCE]:
            self._retry(lane, places[lane.id], key, fetch)

    def match(self, place: Place, live: Progress, fetch: Fetch) -> None:
        """Has done with a replayed partition's parked events what has been done with the live generation's.

        There an operator may have had them retried, in another order than that of the topic, or passed.
        """
        lane = self.lane(place)
        for key in sorted(lane.parked.keys() - live.parked.keys()):
            self._retry(lane, place, key, fetch)
        if lane.counted and not live.counted:
            self._store.pass_by(lane.id)
            self._reload(lane)

    def positions(self) -> dict[Place, int]:
        """How far each partition has been applied by all of its lanes."""
        return {place: min(lane.position for lane in lanes) for place, lanes in self._lanes.items()}

    def lane(self, place: Place) -> Lane:
        """The lane of the only consumer of a partition, for replays."""
        [lane] = self._lanes[place]
        return lane

    def _every_lane(self) -> list[Lane]:
        return [lane for lanes in self._lanes.values() for lane in lanes]

    def _start(self, place: Place) -> int:
        lanes = self._lanes[place]
        furthest = max(lane.position for lane in lanes)
        for lane in lanes:
            lane.attached = furthest - lane.position <= CLOSE
        return min(lane.position for lane in lanes if lane.attached)

    def _run(self, work: Sequence[tuple[Lane, Batch]]) -> None:
        """One read and one write for all of them, and others for the pieces of what needs too many large rows."""
        fitting = []
        for lane, batch in work:
            if not self._follows(lane, batch):
                continue
            if len(batch.items) <= lane.most:
                fitting.append((lane, batch))
            else:
                for half in batch.halves():
                    self._run([(lane, half)])
        if fitting:
            self._run_fitting(fitting)

    def _follows(self, lane: Lane, batch: Batch) -> bool:
        """Whether the lane can take the batch. One that lacks what is before it is left to the replayer."""
        if batch.start > lane.position:
            self.signals.rewound(lane.id.consumer, "gap")
            lane.attached = False
            return False
        if batch.end <= lane.position:
            return False
        epoch = batch.leader_epoch_at(lane.position)
        if 0 <= epoch < lane.leader_epoch:
            self.signals.failed(lane.id.consumer, "lost")
            _stand_still(
                lane,
                f"the topic's log has gone back: what was applied last is of leader epoch {lane.leader_epoch}, what follows it"
                f" of {epoch}: restore the topic, or rebuild the consumer",
            )
            return False
        return True

    def _run_fitting(self, work: Sequence[tuple[Lane, Batch]]) -> None:
        self._learn({lane: wanted for lane, batch in work if (wanted := lane.wanted(batch))})
        writes = [lane.plan(batch) for lane, batch in work]
        failures = self._store.apply(writes)
        for (lane, batch), write in zip(work, writes, strict=True):
            self._settle(lane, batch, write, failures.get(lane.id))

    def _learn(self, wanted: Mapping[Lane, Wanted]) -> None:
        if wanted:
            known = self._store.read({lane.id: want for lane, want in wanted.items()})
            for lane, want in wanted.items():
                lane.learn(want, known[lane.id])

    def _settle(self, lane: Lane, batch: Batch, write: Write, failure: Exception | None) -> None:
        if failure is None:
            self._applied(lane, batch, write)
        elif isinstance(failure, Refused):
            self._give_way(lane)
            log.info("%s: has been moved to %d by somebody else", lane, lane.position)
        elif len(batch.items) > 1:
            # The slow way, to find the event that is at fault.
            for half in batch.halves():
                self._run([(lane, half)])
        elif isinstance(failure, NotYet) and not _is_out_of_patience(lane):
            self.signals.failed(lane.id.consumer, "not_yet")
            _stand_still(lane, reason_of(failure))
        else:
            self._park(lane, batch, failure)

    def _park(self, lane: Lane, batch: Batch, error: Exception) -> None:
        self.signals.failed(lane.id.consumer, "failed")
        write = lane.plan_parking(batch, error)
        failure = self._store.apply([write]).get(lane.id)
        if failure is None:
            self._applied(lane, batch, write)
        elif isinstance(failure, Refused):
            self._give_way(lane)
        else:
            raise failure

    def _give_way(self, lane: Lane) -> None:
        """Somebody else has moved the lane's position."""
        self.signals.rewound(lane.id.consumer, "fenced")
        _move(lane, self._store.progress([lane.id])[lane.id])

    def _applied(self, lane: Lane, batch: Batch, write: Write) -> None:
        lane.advance(write)
        skipped, failed = write.skipped, len(write.parked)
        self.signals.settled(lane.id.consumer, _come_to(batch, write) - skipped - failed, skipped, failed)
        for parked in write.parked:
            log.warning("%s: parked %d (%s): %s", lane, parked.offset, parked.cause, parked.reason)
        if write.position > write.expected and lane.trouble:
            log.warning("%s: goes on at %d", lane, lane.position)
            lane.trouble = None
        if write.stopped:
            self.signals.failed(lane.id.consumer, "stopped")
            _stand_still(lane, f"our own code failed too often: {write.stopped.reason}")

    def _reload(self, lane: Lane) -> None:
        lane.learn_progress(self._store.progress([lane.id])[lane.id])

    def _carry_out(self, request: Request, lane: Lane, place: Place, fetch: Fetch) -> None:
        match request.action:
            case "retry":
                self._retry(lane, place, request.key, fetch)
            case "drop":
                if any(one.offset == request.offset for one in self._store.parked(lane.id, request.key)):
                    self._store.drop(lane.id, request.offset, request.reason)
                    lane.dropped.add(request.offset)
                self._retry(lane, place, request.key, fetch)
            case "pass":
                self._store.pass_by(lane.id)
                self._reload(lane)
                if lane.trouble:
                    lane.trouble.again_at = 0.0

    def _retry(self, lane: Lane, place: Place, key: str, fetch: Fetch) -> None:
        """Applies the parked events of one aggregate in order, each in a write of its own, up to one that fails."""
        since = {parked.offset: parked.since for parked in self._store.parked(lane.id, key)}
        try:
            records = fetch(place, list(since))
        except LookupError as error:
            log.warning("%s: %s stays parked: %s", lane, key, error)
            lane.tried(key)
            return
        for record in records:
            if not self._retry_one(lane, read(record, self._codec, place.topic), since[record.offset]):
                break
        self._reload(lane)
        lane.tried(key)

    def _retry_one(self, lane: Lane, item: Item, since: datetime) -> bool:
        batch = Batch(Place("", lane.id.partition), item.offset, item.offset + 1, [item])
        self._learn({lane: wanted} if (wanted := lane.wanted_of(batch.items)) else {})
        write = lane.plan_retry(item, since)
        failure = self._store.apply([write]).get(lane.id)
        if failure is None:
            lane.advance_retry(write)
            return not write.parked
        if not isinstance(failure, Refused):
            self._store.apply([lane.plan_still_parked(item, since, failure)])
        return False


def _move(lane: Lane, progress: Progress) -> None:
    """The lane is elsewhere than it was: what it lacks may have been read, and need not be followed by more."""
    lane.learn_progress(progress)
    lane.attached = False


def _come_to(batch: Batch, write: Write) -> int:
    """How many of the batch's events the write has come to."""
    if batch.start >= write.expected and write.stopped is None:
        return len(batch.items)
    return sum(write.expected <= item.offset < write.position for item in batch.items)


def _is_due(lane: Lane, now: float) -> bool:
    return not lane.attached and (lane.trouble is None or lane.trouble.again_at <= now)


def _is_out_of_patience(lane: Lane) -> bool:
    return lane.trouble is not None and time.time() - lane.trouble.since > PATIENCE_S


def _stand_still(lane: Lane, reason: str) -> None:
    now = time.time()
    trouble = lane.trouble or Trouble(reason, now)
    pause_s = min(MOST_PAUSE_S, FIRST_PAUSE_S * 2**trouble.tries)
    lane.attached = False
    lane.trouble = Trouble(reason, trouble.since, trouble.tries + 1, now + pause_s * random.uniform(0.5, 1.0))
    if trouble.reason != reason or trouble.tries == 0:
        log.warning("%s: stands still at %d: %s", lane, lane.position, reason)
