"""A batch to its consumer: decode, put in order, fold, and one write that carries the position.

All that decides is here, and knows neither Kafka nor Faust nor which store it writes to. The rules:

- A batch that begins after the stored position is not applied: something is missing before it. `handle` says from
  where to read again. What lies before the position has been applied: it is skipped.
- Of an aggregate at version n, n + 1 is applied, up to n is skipped, anything later is parked.
- An event that can't be decoded or applied is parked with its reason, and the later ones of its aggregate with it.
- A refused write means that somebody else has the partition: what is known of it is read anew.
"""

import gc
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

from schemas.codec import Codec, Undecodable
from schemas.event import Event
from streams.engine.batch import Batch, Record, aggregate_id, decode
from streams.engine.consumer import Consumer, NotYet, Reaction, Row, Table, View, consumer_id
from streams.engine.stores import Known, Parked, Store, Wanted, Write

log = logging.getLogger(__name__)

#: Aggregates or rows remembered for one partition; beyond this, all of it is forgotten and read again as needed.
REMEMBERED = 10_000

#: How often a reaction may say NotYet of a batch before it is parked: for a minute, as feeds pause between tries.
TRIES = 60

WAITS = "waits for an earlier event of its aggregate"


def collect_rarely() -> None:
    """For processes that run consumers: they make many objects and no cycles to speak of.

    Python's default looks through all remembered rows again and again; that cost a third of the throughput.
    """
    gc.set_threshold(50_000, 50, 100)


@dataclass
class _Partition:
    """What is known of a partition; true for as long as no write to it is refused."""

    position: int
    waiting: set[str]
    #: The position that the store gives. A table's is that of its last row, and may be behind `position`.
    stored: int
    versions: dict[str, int] = field(default_factory=dict)
    rows: dict[str, Row | None] = field(default_factory=dict)

    def learn(self, wanted: Wanted, known: Known) -> None:
        self.versions.update((aggregate, known.versions.get(aggregate, 0)) for aggregate in wanted.aggregates)
        self.rows.update((key, known.rows.get(key)) for key in wanted.rows)

    def advance(self, write: Write, *, is_table: bool) -> None:
        self.position = write.position
        if not is_table:
            self.stored = write.position
        elif write.records:
            self.stored = max(offset for offset, _ in write.records) + 1
        self.versions.update(write.versions)
        self.rows.update(write.rows)
        self.waiting.update(parked.key for parked in write.parked)

    def forget_if_full(self) -> None:
        if max(len(self.versions), len(self.rows)) > REMEMBERED:
            self.versions.clear()
            self.rows.clear()


class _Decoded(NamedTuple):
    """A record and its event with the view row that it changes, or the reason why it has none."""

    record: Record
    event: Event | None = None
    row: str = ""
    reason: str = ""


class Runtime:
    """Applies the batches of one consumer to its store. Not for concurrent use."""

    def __init__(self, consumer: Consumer, store: Store, codec: Codec) -> None:
        self._consumer = consumer
        self._store = store
        self._codec = codec
        # A table's rows carry the version and ReplacingMergeTree folds by it, so none are kept beside them.
        self._sequenced = not isinstance(consumer, Table)
        self._partitions: dict[int, _Partition] = {}
        self._tries = 0

    def __repr__(self) -> str:
        return consumer_id(self._consumer)

    def assign(self, partitions: Sequence[int]) -> dict[int, int]:
        """Takes partitions on; gives each one's position, from which the source has to read."""
        progress = self._store.progress(partitions)
        self._partitions.update(
            (p, _Partition(at.position, set(at.waiting), at.position)) for p, at in progress.items()
        )
        return {partition: at.position for partition, at in progress.items()}

    def revoke(self, partitions: Iterable[int]) -> None:
        """Lets partitions go: batches of theirs that are still under way are ignored."""
        self._tries = 0
        for partition in partitions:
            self._partitions.pop(partition, None)

    def positions(self) -> dict[int, int]:
        """The position of every partition that is assigned."""
        return {number: partition.position for number, partition in self._partitions.items()}

    def recheck(self) -> dict[int, int]:
        """Compares what is known with what is stored; gives the partitions to read again, and from which offset.

        A store that comes back from a crash or a failover may have lost what it had acknowledged last, or somebody
        else may have taken over. Without this, only the partition's next event would show it.
        """
        progress = self._store.progress(list(self._partitions))
        moved = [p for p, at in progress.items() if at.position != self._partitions[p].stored]
        if moved:
            log.warning("%s: the store is not where it was left: partitions %s are read again", self, moved)
        return self.assign(moved) if moved else {}

    def handle(self, batches: Sequence[Batch]) -> dict[int, int]:
        """Applies batches, at most one a partition; gives the partitions to read again, and from which offset.

        Raises NotYet or one of the store's `unavailable` errors when the batches have to be handed over again, later;
        that is safe whatever had been applied.
        """
        rewind: dict[int, int] = {}
        turn: dict[int, Batch] = {}
        for batch in batches:
            partition = self._partitions.get(batch.partition)
            if partition is None or batch.end <= partition.position:
                continue
            if batch.start > partition.position:
                rewind[batch.partition] = partition.position
            else:
                turn[batch.partition] = batch
        refusals = self._write(turn)
        self._tries = 0
        for refused in refusals:
            position = self.assign([refused])[refused]
            log.info("%s: partition %d has been moved to %d by somebody else", self, refused, position)
            if position != turn[refused].end:
                rewind[refused] = position
        return rewind

    def _write(self, batches: Mapping[int, Batch]) -> set[int]:
        """One write for all of them. Gives the partitions that were refused."""
        if not batches:
            return set()
        writes = self._prepare(batches)
        try:
            return self._apply(writes)
        except Exception as error:
            if self._may_pass(error):
                raise
            log.exception("%s: a batch can't be applied; its events are applied one by one", self)
            return self._write_singly(batches)

    def _write_singly(self, batches: Mapping[int, Batch]) -> set[int]:
        """The slow way, to park just the event that the store can't take."""
        refused: set[int] = set()
        for number, batch in batches.items():
            for single in _singles(batch, self._partitions[number].position):
                if number not in refused:
                    refused |= self._write_or_park(single)
        return refused

    def _write_or_park(self, batch: Batch) -> set[int]:
        writes = self._prepare({batch.partition: batch})
        try:
            return self._apply(writes)
        except Exception as error:
            if self._may_pass(error):
                raise
            write = Write(batch.partition, writes[0].expected, batch.end)
            _park(write, batch.records[0], _reason(error))
            return self._apply([write])

    def _may_pass(self, error: Exception) -> bool:
        """Whether the same batches are to be tried again."""
        if isinstance(error, NotYet):
            self._tries += 1
            return self._tries < TRIES
        return isinstance(error, self._store.unavailable)

    def _apply(self, writes: Sequence[Write]) -> set[int]:
        refused = self._store.apply(writes)
        for write in writes:
            if write.partition not in refused:
                self._partitions[write.partition].advance(write, is_table=not self._sequenced)
                for parked in write.parked:
                    log.warning("%s: parked %d/%d: %s", self, write.partition, parked.offset, parked.reason)
        return refused

    def _prepare(self, batches: Mapping[int, Batch]) -> list[Write]:
        decoded = {
            number: [self._decode(r) for r in batch.records if r.offset >= self._partitions[number].position]
            for number, batch in batches.items()
        }
        self._learn(decoded)
        return [self._plan(batch, decoded[number]) for number, batch in batches.items()]

    def _decode(self, record: Record) -> _Decoded:
        try:
            event = decode(record, self._codec, self._consumer.topic)
        except Undecodable as error:
            return _Decoded(record, reason=str(error))
        if not isinstance(self._consumer, View):
            return _Decoded(record, event)
        try:
            return _Decoded(record, event, self._consumer.key(event))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is parked with its reason
            return _Decoded(record, reason=_reason(error))

    def _learn(self, decoded: Mapping[int, Sequence[_Decoded]]) -> None:
        """Reads, for all partitions at once, what is not remembered."""
        if not self._sequenced:
            return
        wanted: dict[int, Wanted] = {}
        for number, items in decoded.items():
            partition = self._partitions[number]
            partition.forget_if_full()
            # Not with `- partition.versions.keys()`: that would go through all that is remembered.
            aggregates = {i.event.key for i in items if i.event and i.event.key not in partition.versions}
            rows = {i.row for i in items if i.row and i.row not in partition.rows}
            if aggregates or rows:
                wanted[number] = Wanted(sorted(aggregates), sorted(rows))
        if wanted:
            for number, known in self._store.read(wanted).items():
                self._partitions[number].learn(wanted[number], known)

    def _plan(self, batch: Batch, items: Iterable[_Decoded]) -> Write:
        partition = self._partitions[batch.partition]
        write = Write(batch.partition, partition.position, batch.end)
        waiting = set(partition.waiting)
        for item in items:
            reason = self._plan_one(partition, write, item, waiting)
            if reason:
                waiting.add(_park(write, item.record, reason))
        return write

    def _plan_one(self, partition: _Partition, write: Write, item: _Decoded, waiting: set[str]) -> str | None:
        """Adds the event's effects to the write, or gives the reason to park it."""
        if waiting and aggregate_id(item.record) in waiting:
            return WAITS
        event = item.event
        if event is None:
            return item.reason
        if self._sequenced:
            version = write.versions.get(event.key, partition.versions[event.key])
            if event.version <= version:
                return None
            if event.version > version + 1:
                return f"gap: version {event.version} after version {version}"
        try:
            self._add_effects(partition, write, item.record.offset, event, item.row)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is parked with its reason
            return _reason(error)
        if self._sequenced:
            write.versions[event.key] = event.version
        return None

    def _add_effects(
        self, partition: _Partition, write: Write, offset: int, event: Event, key: str
    ) -> None:
        match self._consumer:
            case View() as view:
                before = write.rows[key] if key in write.rows else partition.rows[key]
                after = view.fold(before, event)
                if after is not before:
                    write.rows[key] = after
            case Table() as table:
                write.records.extend([(offset, row) for row in table.rows(event)])
            case Reaction():
                write.events.append(event)


def _singles(batch: Batch, position: int) -> Iterator[Batch]:
    """The batch as batches of one record each, from the position on."""
    start = position
    records = [record for record in batch.records if record.offset >= position]
    for record, following in zip_longest(records, records[1:]):
        end = following.offset if following else batch.end
        yield Batch(batch.partition, start, end, [record])
        start = end


def _park(write: Write, record: Record, reason: str) -> str:
    key = aggregate_id(record)
    write.parked.append(Parked(record.offset, key, reason))
    return key


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
