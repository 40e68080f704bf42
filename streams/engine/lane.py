"""The rules: one consumer in one partition, from decoded records to a write that carries the position.

All that decides is here, and knows neither Kafka nor Faust nor which store it writes to.

- A batch that begins after the position is not applied: something is missing before it. What lies before the
  position has been applied: it is skipped.
- Of an aggregate at version n, n + 1 is applied, up to n is skipped, anything later is parked.
- An event that can't be decoded or applied is parked with its reason, and the later ones of its aggregate with it.
- An event that an operator has dropped counts as seen; with one after a gap, what is missing before it is given up.
- When a consumer has parked MOST_FAILED events of one partition because our own code failed, it stops there: a bad
  deploy must not park a whole topic. What is tried while it is stopped writes nothing unless it succeeds.
"""

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from kernel.code import fingerprint
from schemas.event import Event
from streams.engine.batch import Batch, Item
from streams.engine.consumer import Consumer, NotYet, Reaction, Row, Table, View
from streams.engine.indexes import entries_of
from streams.engine.stores import (
    COUNTED,
    Cause,
    Known,
    LaneId,
    Parked,
    Progress,
    Stopped,
    Wanted,
    Write,
)

log = logging.getLogger(__name__)

#: Parked events of one partition, failed by our own code, after which a consumer stops there.
MOST_FAILED = 5
#: What one lane remembers of rows and versions, in bytes of JSON: beyond this all of it is forgotten, and read again.
REMEMBERED_BYTES = 1_048_576
#: What a remembered version costs, about, in the same measure.
_VERSION_BYTES = 64
#: What a lane reads of rows at once, about, in bytes of JSON; and how large it takes a row to be before it knows.
READ_BYTES, _ROW_BYTES = 8_388_608, 65_536

#: Seconds after which an event is tried again that was parked because what it needs was not there in time.
LATE_S = 60.0

WAITS = "waits for an earlier event of its aggregate"


@dataclass
class Trouble:
    """Why a lane stands still: since when, and when it is tried again, both in seconds of time.time()."""

    reason: str
    since: float
    tries: int = 0
    again_at: float = 0.0


class Lane:
    """One consumer in one partition; what it knows is true for as long as no write of it is refused.

    An attached lane gets what its feed reads; a detached one is served by the replayer, until it has caught up.
    """

    def __init__(
        self, consumer: Consumer, lane_id: LaneId, progress: Progress, most_failed: int = MOST_FAILED
    ) -> None:
        self.consumer = consumer
        self.id = lane_id
        self._most_failed = most_failed
        self.attached = True
        self.trouble: Trouble | None = None
        self._versions: dict[str, int] = {}
        self._rows: dict[str, Row | None] = {}
        self._row_bytes = float(_ROW_BYTES)
        self._late_at = 0.0
        self._late_due: set[str] = set()
        self.learn_progress(progress)

    def __repr__(self) -> str:
        return f"{self.id.consumer}/{self.id.partition}"

    def learn_progress(self, progress: Progress) -> None:
        """Takes over what the store has, and forgets all else."""
        self.position = self.stored = progress.position
        self.leader_epoch = progress.leader_epoch
        self.parked = Counter(progress.parked)
        self.counted = progress.counted
        self.untried = set(progress.untried)
        self.dropped = set(progress.dropped)
        self._late = set(progress.late)
        self._late_due &= self._late
        self._forget()

    @property
    def most(self) -> int:
        """How many events a batch may have: any number, where no rows are needed."""
        return sys.maxsize

    def due(self, now: float) -> set[str]:
        """The aggregates whose parked events are to be tried again by `now`, in seconds of time.time().

        Once for what other code failed on; every LATE_S, and each in its turn, for what came too early.
        """
        if self._late and now >= self._late_at:
            self._late_due, self._late_at = set(self._late), now + LATE_S
        return self.untried | self._late_due

    def tried(self, aggregate: str) -> None:
        """Its parked events have been tried now."""
        self.untried.discard(aggregate)
        self._late_due.discard(aggregate)

    def wanted(self, batch: Batch) -> Wanted | None:
        """What has to be read for a batch, beyond what is remembered."""
        if self._bytes > REMEMBERED_BYTES:
            self._forget()
        return self.wanted_of([item for item in batch.items if item.offset >= self.position])

    def wanted_of(self, items: Iterable[Item]) -> Wanted | None:
        """As `wanted`, of single events."""
        versions = self._versions
        aggregates = {item.key for item in items if item.version and item.key not in versions}
        return Wanted(aggregates, ()) if aggregates else None

    def learn(self, wanted: Wanted, known: Known) -> None:
        """Remembers what was read; what the store does not hold is not there."""
        self._versions.update((aggregate, known.versions.get(aggregate, 0)) for aggregate in wanted.aggregates)
        self._rows.update((key, known.rows.get(key)) for key in wanted.rows)
        self._note_size(known.rows_bytes, len(known.rows), len(wanted.aggregates) + len(wanted.rows))

    def plan(self, batch: Batch) -> Write:
        """The write for a batch that begins at or before the position, up to its end, or to where the lane stops."""
        write = Write(self.id, self.position, batch.end, batch.leader_epoch)
        waiting: set[str] = set()
        for item in batch.items:
            if item.offset < self.position:
                continue
            failure = self._try(write, item, waiting)
            if failure is None:
                continue
            if failure.counts and self._is_full(write):
                write.position, write.stopped = item.offset, Stopped(item.offset, failure.reason)
                break
            self._park(write, item, failure, waiting)
        return write

    def plan_parking(self, batch: Batch, error: Exception) -> Write:
        """The write for a batch of one event that the store or the reaction did not take."""
        [item] = [item for item in batch.items if item.offset >= self.position]
        write = Write(self.id, self.position, batch.end, batch.leader_epoch)
        failure = _failure_of(error)
        if failure.counts and self._is_full(write):
            write.position, write.stopped = item.offset, Stopped(item.offset, failure.reason)
        else:
            self._park(write, item, failure, set())
        return write

    def plan_retry(self, item: Item, since: datetime) -> Write:
        """The write that applies a parked event; if that fails again, the write keeps it parked, with the reason."""
        write = Write(self.id, self.position, self.position, self.leader_epoch)
        failure = self._try(write, item, None)
        if failure:
            write.parked.append(_parked(item, failure, since))
        else:
            write.unparked.append(item.offset)
        return write

    def plan_still_parked(self, item: Item, since: datetime, error: Exception) -> Write:
        """The write that keeps a parked event parked, because the store or the reaction did not take it."""
        parked = [_parked(item, _failure_of(error), since)]
        return Write(self.id, self.position, self.position, self.leader_epoch, parked=parked)

    def advance(self, write: Write) -> None:
        """The write has been applied."""
        self.position, self.leader_epoch = write.position, write.leader_epoch
        self.stored = write.position
        self.advance_retry(write)
        for parked in write.parked:
            self.parked[parked.key] += 1
            self.counted += parked.cause in COUNTED
        self._late.update(parked.key for parked in write.parked if parked.cause == "late")

    def advance_retry(self, write: Write) -> None:
        """A write of a parked event has been applied: the position is where it was."""
        self._versions.update(write.versions)
        self._rows.update(write.rows)
        self._note_size(write.rows_bytes, len(write.rows), len(write.versions) + len(write.rows))

    def _note_size(self, rows_bytes: int, rows: int, versions: int) -> None:
        """Of what is remembered from now on. Rows are taken to be large at once, and small little by little."""
        self._bytes += rows_bytes + _VERSION_BYTES * versions
        if rows:
            self._row_bytes = max(rows_bytes / rows, self._row_bytes / 2, 1.0)

    def _try(self, write: Write, item: Item, waiting: set[str] | None) -> "Failure | None":
        """Adds an event's effects to the write, or says why not. `waiting` is None for events that are parked."""
        key = item.key
        if waiting is not None and (key in waiting or key in self.parked):
            return _WAITS
        if item.fault == "record" and item.offset not in self.dropped:
            return Failure("record", item.reason)
        if not item.version:
            write.skipped += 1
            return None
        version = write.versions.get(key)
        if version is None:
            version = self._versions[key]
        if item.version <= version:
            write.skipped += 1
            return None
        is_gap = item.version > version + 1 and not self._may_begin_at(version)
        if is_gap and item.offset not in self.dropped:
            return Failure("gap", f"gap: version {item.version} after version {version}")
        failure = self._effects(write, item)
        # Nobody vouches for the version of a record that is no event.
        if failure is None and not (is_gap and item.fault == "record"):
            write.versions[key] = item.version
        return failure

    def _effects(self, write: Write, item: Item) -> "Failure | None":
        """Adds the event's effects, unless an operator has dropped it."""
        if item.offset in self.dropped:
            write.skipped += 1
            return None
        if item.event is None:
            return Failure(item.fault or "record", item.reason)
        try:
            self._add_effects(write, item, item.event)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is parked with its reason
            return Failure("failed", reason_of(error))
        return None

    def _add_effects(self, write: Write, item: Item, event: Event) -> None:
        raise NotImplementedError

    def _may_begin_at(self, version: int) -> bool:
        """Whether any version may follow on this one."""
        return False

    def _is_full(self, write: Write) -> bool:
        return self.counted + sum(parked.cause in COUNTED for parked in write.parked) >= self._most_failed

    def _park(self, write: Write, item: Item, failure: "Failure", waiting: set[str]) -> None:
        waiting.add(item.key)
        write.parked.append(_parked(item, failure, datetime.now(UTC)))

    def _forget(self) -> None:
        self._versions.clear()
        self._rows.clear()
        self._bytes = 0


class Failure:
    """Why an event was not applied."""

    __slots__ = ("cause", "reason")

    def __init__(self, cause: Cause, reason: str) -> None:
        self.cause, self.reason = cause, reason

    @property
    def counts(self) -> bool:
        """Whether it may be a bad deploy."""
        return self.cause in COUNTED


_WAITS = Failure("waits", WAITS)


class ViewLane(Lane):
    """Folds events into rows."""

    consumer: View

    @property
    def most(self) -> int:
        """As many as READ_BYTES hold rows of the size seen last: small events may need large rows."""
        return max(1, int(READ_BYTES / self._row_bytes))

    def wanted_of(self, items: Iterable[Item]) -> Wanted | None:
        """Versions and rows."""
        versions, rows, key_of = self._versions, self._rows, self.consumer.key
        aggregates: set[str] = set()
        keys: set[str] = set()
        for item in items:
            if item.version and item.key not in versions:
                aggregates.add(item.key)
            key = _key(key_of, item.event) if item.event else None
            if key is not None and key not in rows:
                keys.add(key)
        return Wanted(aggregates, keys) if aggregates or keys else None

    def _add_effects(self, write: Write, item: Item, event: Event) -> None:
        view = self.consumer
        key = view.key(event)
        before = write.rows[key] if key in write.rows else self._rows[key]
        after = view.fold(before, event)
        if after is before:
            return
        if view.indexes:
            # First, because it may raise, and then nothing of the event must be in the write.
            old, new = self._entries_before(key, before), entries_of(view.indexes, key, after)
            write.entries.update(dict.fromkeys(old - new, False) | dict.fromkeys(new - old, True))
        write.rows[key] = after

    def _entries_before(self, key: str, row: Row | None) -> set[str]:
        """None of a row that other code has made without what an index needs: what stays goes with the rebuild."""
        try:
            return entries_of(self.consumer.indexes, key, row)
        except Exception:  # noqa: BLE001  # the row after the event tells whether it is the index that fails
            return set()


def _key(key_of: Callable[[Event], str], event: Event) -> str | None:
    """The key of the event's row; None when there is no telling, which is said when the event is applied."""
    try:
        return key_of(event)
    except Exception:  # noqa: BLE001  # `_try` meets it again, and parks the event with it
        return None


class TableLane(Lane):
    """Turns events into rows. Rows carry the version and ReplacingMergeTree folds by it: none are kept beside them."""

    consumer: Table

    def wanted_of(self, items: Iterable[Item]) -> Wanted | None:
        """Nothing."""
        return None

    def _try(self, write: Write, item: Item, waiting: set[str] | None) -> Failure | None:
        if waiting is not None and (item.key in waiting or item.key in self.parked):
            return _WAITS
        return self._effects(write, item)

    def _add_effects(self, write: Write, item: Item, event: Event) -> None:
        offset = item.offset
        write.records += [(offset, row) for row in self.consumer.rows(event)]


class ReactionLane(Lane):
    """Hands events to a reaction, in the transaction that moves the position."""

    consumer: Reaction

    def _may_begin_at(self, version: int) -> bool:
        """What there was of an aggregate before a reaction began it has never heard."""
        return version == 0 and self.consumer.start == "now"

    def _add_effects(self, write: Write, item: Item, event: Event) -> None:
        if event.type in self.consumer.types:
            write.events.append(event)


def lane_of(consumer: Consumer, lane_id: LaneId, progress: Progress, most_failed: int = MOST_FAILED) -> Lane:
    """The lane for a consumer."""
    kinds: dict[type[Consumer], type[Lane]] = {View: ViewLane, Table: TableLane, Reaction: ReactionLane}
    return kinds[type(consumer)](consumer, lane_id, progress, most_failed)


def _parked(item: Item, failure: Failure, since: datetime) -> Parked:
    return Parked(item.offset, item.key, item.version, failure.cause, failure.reason, fingerprint(), since)


def _failure_of(error: Exception) -> Failure:
    """What the store or the reaction says of one event: that our own code fails on it, or lacks what it needs."""
    return Failure("late" if isinstance(error, NotYet) else "failed", reason_of(error))


def reason_of(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {error}".strip().replace("\x00", "\\x00")
