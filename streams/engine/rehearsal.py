"""What carrying out a request would do, without doing it: the feed's own code over a real store whose writes are kept back."""

from collections.abc import Callable, Mapping, Sequence

from streams.engine.stores import (
    Dropped,
    Known,
    LaneId,
    Parked,
    Progress,
    Request,
    Store,
    Wanted,
    Write,
)

#: Tries writes without keeping them, and gives what `Store.apply` would give.
Try = Callable[[Sequence[Write]], dict[LaneId, Exception]]


class Rehearsal:
    """A store as a feed needs it for one request. `writes` are those that would have been kept."""

    def __init__(self, store: Store, request: Request, attempt: Try = lambda writes: {}) -> None:
        self.unavailable = store.unavailable
        self.writes: list[Write] = []
        self._store, self._request, self._attempt = store, request, attempt

    def progress(self, lanes: Sequence[LaneId]) -> dict[LaneId, Progress]:
        """As it is; but nothing is to be tried again beside the request."""
        found = self._store.progress(lanes)
        return {lane: progress._replace(untried=frozenset()) for lane, progress in found.items()}

    def positions(self, lanes: Sequence[LaneId]) -> dict[LaneId, int]:
        """As they are."""
        return self._store.positions(lanes)

    def read(self, wanted: Mapping[LaneId, Wanted]) -> Mapping[LaneId, Known]:
        """As it is."""
        return self._store.read(wanted)

    def apply(self, writes: Sequence[Write]) -> dict[LaneId, Exception]:
        """Keeps nothing."""
        failures = self._attempt(writes)
        self.writes += [write for write in writes if write.lane not in failures]
        return failures

    def parked(self, lane: LaneId, key: str | None = None) -> list[Parked]:
        """As it is."""
        return self._store.parked(lane, key)

    def ask(self, requests: Sequence[Request]) -> None:
        """Nothing: there is just one request."""

    def requests(self, lanes: Sequence[LaneId]) -> list[Request]:
        """The one."""
        return [self._request] if self._request.lane in lanes else []

    def drop(self, lane: LaneId, offset: int, reason: str) -> None:
        """Nothing: the lane knows."""

    def dropped(self, lane: LaneId) -> dict[int, Dropped]:
        """As it is."""
        return self._store.dropped(lane)

    def pass_by(self, lane: LaneId) -> None:
        """Nothing."""

    def finish(self, request: Request) -> None:
        """Nothing."""
