"""The store contract in memory, for tests without servers. It passes the same contract tests as the real stores."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import orjson

from schemas.event import Event
from streams.engine.consumer import Row
from streams.engine.stores import (
    COUNTED,
    Dropped,
    Known,
    LaneId,
    Parked,
    Progress,
    Refused,
    Request,
    Wanted,
    Write,
    progress_of,
)

Handlers = Mapping[str, Callable[[Sequence[Event]], None]]


class MemoryStore:
    """Everything that was applied, by lane. `reactions` stand for the handlers of reactions, by consumer."""

    unavailable: tuple[type[Exception], ...] = (ConnectionError,)

    def __init__(self, reactions: Handlers | None = None) -> None:
        self.positions_by_lane: dict[LaneId, int] = {}
        self.epochs: dict[LaneId, int] = {}
        self.versions: dict[LaneId, dict[str, int]] = defaultdict(dict)
        self.rows: dict[LaneId, dict[str, bytes]] = defaultdict(dict)
        self.entries: dict[LaneId, set[str]] = defaultdict(set)
        self.records: dict[LaneId, list[tuple[int, Row]]] = defaultdict(list)
        self.parked_events: dict[LaneId, dict[int, Parked]] = defaultdict(dict)
        self.dropped_events: dict[LaneId, dict[int, Dropped]] = defaultdict(dict)
        self.events: dict[LaneId, list[Event]] = defaultdict(list)
        self.asked: list[Request] = []
        self._reactions = reactions or {}

    def progress(self, lanes: Sequence[LaneId]) -> dict[LaneId, Progress]:
        return {lane: self._progress(lane) for lane in lanes}

    def positions(self, lanes: Sequence[LaneId]) -> dict[LaneId, int]:
        return {lane: self.positions_by_lane.get(lane, 0) for lane in lanes}

    def read(self, wanted: Mapping[LaneId, Wanted]) -> Mapping[LaneId, Known]:
        return {lane: self._read(lane, want) for lane, want in wanted.items()}

    def apply(self, writes: Sequence[Write]) -> dict[LaneId, Exception]:
        failures: dict[LaneId, Exception] = {}
        for write in writes:
            try:
                self._apply(write)
            except self.unavailable:
                raise
            except Exception as error:  # noqa: BLE001  # the contract: an error of one write is its own
                failures[write.lane] = error
        return failures

    def parked(self, lane: LaneId, key: str | None = None) -> list[Parked]:
        found = [one for one in self.parked_events[lane].values() if key in (None, one.key)]
        return sorted(found, key=lambda one: (one.version, one.offset))

    def ask(self, requests: Sequence[Request]) -> None:
        self.asked += requests

    def requests(self, lanes: Sequence[LaneId]) -> list[Request]:
        return sorted((request for request in self.asked if request.lane in lanes), key=lambda request: request.id)

    def drop(self, lane: LaneId, offset: int, reason: str) -> None:
        self.dropped_events[lane].setdefault(offset, Dropped(reason, datetime.now(UTC)))

    def dropped(self, lane: LaneId) -> dict[int, Dropped]:
        return dict(self.dropped_events[lane])

    def pass_by(self, lane: LaneId) -> None:
        for offset, one in self.parked_events[lane].items():
            if one.cause in COUNTED:
                self.parked_events[lane][offset] = one._replace(cause="passed")

    def finish(self, request: Request) -> None:
        self.asked.remove(request)

    def _read(self, lane: LaneId, want: Wanted) -> Known:
        rows = {key: self.rows[lane][key] for key in want.rows if key in self.rows[lane]}
        return Known(
            {a: self.versions[lane][a] for a in want.aggregates if a in self.versions[lane]},
            {key: orjson.loads(row) for key, row in rows.items()},
            sum(map(len, rows.values())),
        )

    def _progress(self, lane: LaneId) -> Progress:
        position, epoch = self.positions_by_lane.get(lane, 0), self.epochs.get(lane, -1)
        return progress_of(position, epoch, self.parked_events[lane].values(), self.dropped_events[lane])

    def _apply(self, write: Write) -> None:
        lane = write.lane
        if self.positions_by_lane.get(lane, 0) != write.expected:
            raise Refused
        # All that can raise comes first, so that nothing is half applied.
        dumped = {key: None if row is None else orjson.dumps(row) for key, row in write.rows.items()}
        if write.events and lane.consumer in self._reactions:
            self._reactions[lane.consumer](write.events)
        write.rows_bytes = sum(len(row) for row in dumped.values() if row)
        for key, row in dumped.items():
            if row is None:
                self.rows[lane].pop(key, None)
            else:
                self.rows[lane][key] = row
        for entry, is_there in write.entries.items():
            if is_there:
                self.entries[lane].add(entry)
            else:
                self.entries[lane].discard(entry)
        self.versions[lane].update(write.versions)
        self.records[lane] += write.records
        self.events[lane] += write.events
        self.parked_events[lane].update((one.offset, one) for one in write.parked)
        for offset in write.unparked:
            self.parked_events[lane].pop(offset, None)
        self.positions_by_lane[lane], self.epochs[lane] = write.position, write.leader_epoch
