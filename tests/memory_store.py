"""The store contract in memory, for tests without servers. It passes the same contract tests as the real stores."""

from collections.abc import Callable, Mapping, Sequence

import orjson

from schemas.event import Event
from streams.engine.consumer import Row
from streams.engine.stores import Known, Parked, Progress, Wanted, Write


class MemoryStore:
    """Everything that was applied, by partition. `react` stands for a reaction's handler."""

    unavailable: tuple[type[Exception], ...] = (ConnectionError,)

    def __init__(self, react: Callable[[Sequence[Event]], None] = lambda events: None) -> None:
        self.positions: dict[int, int] = {}
        self.versions: dict[int, dict[str, int]] = {}
        self.rows: dict[int, dict[str, bytes]] = {}
        self.records: dict[int, list[tuple[int, Row]]] = {}
        self.parked: dict[int, list[Parked]] = {}
        self.events: list[Event] = []
        self._react = react

    def progress(self, partitions: Sequence[int]) -> dict[int, Progress]:
        return {
            p: Progress(self.positions.get(p, 0), frozenset(one.key for one in self.parked.get(p, [])))
            for p in partitions
        }

    def read(self, wanted: Mapping[int, Wanted]) -> Mapping[int, Known]:
        return {
            p: Known(
                {a: self.versions[p][a] for a in want.aggregates if a in self.versions.get(p, {})},
                {k: orjson.loads(self.rows[p][k]) for k in want.rows if k in self.rows.get(p, {})},
            )
            for p, want in wanted.items()
        }

    def apply(self, writes: Sequence[Write]) -> set[int]:
        refused = {write.partition for write in writes if self._stored(write.partition) != write.expected}
        accepted = [write for write in writes if write.partition not in refused]
        # All that can raise comes first, so that nothing is half applied.
        dumped = [{key: None if row is None else orjson.dumps(row) for key, row in write.rows.items()} for write in accepted]
        self._react([event for write in accepted for event in write.events])
        for write, rows in zip(accepted, dumped, strict=True):
            self._keep(write, rows)
        return refused

    def _stored(self, partition: int) -> int:
        return self.positions.get(partition, 0)

    def _keep(self, write: Write, rows: Mapping[str, bytes | None]) -> None:
        held = self.rows.setdefault(write.partition, {})
        for key, row in rows.items():
            if row is None:
                held.pop(key, None)
            else:
                held[key] = row
        self.versions.setdefault(write.partition, {}).update(write.versions)
        self.records.setdefault(write.partition, []).extend(write.records)
        self.parked.setdefault(write.partition, []).extend(write.parked)
        self.events.extend(write.events)
        self.positions[write.partition] = write.position
