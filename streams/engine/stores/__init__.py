"""What the engine asks of a sink: positions, and a whole batch applied with its position.

One store object serves one feed: all consumers of one sink. Calls block; the feed calls from its thread.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from kernel.code import fingerprint
from schemas.event import Event
from streams.engine.consumer import Row

#: Why an event is parked: its record can't be decoded; its type is not known to the code that ran; our own code
#: failed on it; it came too early; it waits for an earlier event of its aggregate. `passed` once failed, too, and no
#: longer counts against its consumer.
Cause = Literal["record", "unknown", "failed", "gap", "late", "waits", "passed"]

#: Causes that may be a bad deploy: a consumer that has too many of them stops, instead of parking a whole topic.
COUNTED: frozenset[Cause] = frozenset({"unknown", "failed"})


class LaneId(NamedTuple):
    """One consumer in one partition of its topic."""

    consumer: str
    partition: int


class Parked(NamedTuple):
    """An event that could not be applied. It stays in its topic: `offset` is where.

    `version` is 0 when its record does not say; `code` tells which code tried it last; `since` when it was parked.
    """

    offset: int
    key: str
    version: int
    cause: Cause
    reason: str
    code: str
    since: datetime


class Progress(NamedTuple):
    """Where a consumer is in a partition: `position` is the next offset that it needs.

    `leader_epoch` is that of the record before it, -1 when unknown. `parked` counts the parked events of each
    aggregate that has some, `counted` those that count against the consumer. The events of `untried` aggregates
    were tried by other code than this, or an operator drops one of them. `dropped` offsets are skipped, whatever their
    records say. Of `late` aggregates an event was parked because what it needs was not there in time.
    """

    position: int = 0
    leader_epoch: int = -1
    parked: Mapping[str, int] = {}  # a NamedTuple's default, and nobody changes it
    counted: int = 0
    untried: frozenset[str] = frozenset()
    dropped: frozenset[int] = frozenset()
    late: frozenset[str] = frozenset()


def progress_of(
    position: int, leader_epoch: int, parked: Collection[Parked], dropped: Iterable[int]
) -> Progress:
    """The progress of a lane of which the store holds this."""
    left_out = frozenset(dropped)
    return Progress(
        position,
        leader_epoch,
        Counter(one.key for one in parked),
        sum(one.cause in COUNTED for one in parked),
        frozenset(one.key for one in parked if _is_untried(one) or one.offset in left_out),
        left_out,
        frozenset(one.key for one in parked if one.cause == "late"),
    )


def _is_untried(parked: Parked) -> bool:
    return parked.cause != "waits" and parked.code != fingerprint()


class Known(NamedTuple):
    """What the store holds of the aggregates and rows that a batch touches; what it does not hold is left out.

    `rows_bytes` is how long the rows are as JSON, together.
    """

    versions: Mapping[str, int]
    rows: Mapping[str, Row]
    rows_bytes: int = 0


class Wanted(NamedTuple):
    """The aggregates whose versions, and the rows, that a batch needs."""

    aggregates: Collection[str]
    rows: Collection[str]


Action = Literal["retry", "drop", "pass"]


class Request(NamedTuple):
    """What an operator wants of the parked events of one aggregate: only their owner may change a lane's effects.

    `id` is a UUIDv7, by which requests are in order. `offset` is the event to be dropped, so that carrying the
    request out twice does not drop the next one, too. `reason` is the operator's.
    """

    id: str
    lane: LaneId
    action: Action
    key: str
    reason: str = ""
    offset: int = -1


class Dropped(NamedTuple):
    """Why and when an operator has dropped an event."""

    reason: str
    at: datetime


class Refused(Exception):
    """The stored position is not the one that the write expected: somebody else has moved it."""


class Overtaken(Exception):
    """Somebody else has rebuilt the view or table since, or has cleared the next generation away."""


class Stopped(NamedTuple):
    """Where a lane stops, because its consumer has failed too often: nothing of this event is written."""

    offset: int
    reason: str


@dataclass
class Write:
    """One lane's batch, ready to be applied: effects, versions, parked events and position in one.

    `expected` is the position that the effects were computed from; `position` the one after them. A view's effects
    are `rows` (None deletes) and `entries` of its indexes (whether each is to be there or not), a table's are `records`
    (each with its offset), a reaction's are `events`. `unparked` are offsets of events that are parked no longer, and
    `skipped` counts those that the lane had applied before, or that an operator has dropped. The
    store that applies it notes in `rows_bytes` how long the rows are as JSON, together.
    """

    lane: LaneId
    expected: int
    position: int
    leader_epoch: int = -1
    versions: dict[str, int] = field(default_factory=dict)
    parked: list[Parked] = field(default_factory=list)
    unparked: list[int] = field(default_factory=list)
    skipped: int = 0
    rows: dict[str, Row | None] = field(default_factory=dict)
    rows_bytes: int = 0
    entries: dict[str, bool] = field(default_factory=dict)
    records: list[tuple[int, Row]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    stopped: Stopped | None = None


class Store(Protocol):
    """The contract that Redis, PostgreSQL, ClickHouse and the tests' memory keep."""

    #: Errors that say "not now" of the whole sink, and nothing about a batch: the feed tries the same again.
    unavailable: tuple[type[Exception], ...]

    def progress(self, lanes: Sequence[LaneId]) -> dict[LaneId, Progress]:
        """The stored progress of each lane; position 0 where nothing is stored."""

    def positions(self, lanes: Sequence[LaneId]) -> dict[LaneId, int]:
        """The stored position of each lane whose progress was asked for before: cheap, however much is parked."""

    def read(self, wanted: Mapping[LaneId, Wanted]) -> Mapping[LaneId, Known]:
        """What a batch needs to know, by lane."""

    def apply(self, writes: Sequence[Write]) -> dict[LaneId, Exception]:
        """Applies each lane's write whole or not at all; gives why for those that were not.

        Refused when the stored position is not the expected one, NotYet when the same write may work later, else
        what is wrong with the write's own effects. Raises one of `unavailable` when the sink is down; then any of
        the writes may have been applied.
        """

    def parked(self, lane: LaneId, key: str | None = None) -> list[Parked]:
        """The parked events of one aggregate or of all, in order of version, then offset."""

    def ask(self, requests: Sequence[Request]) -> None:
        """Leaves requests with whoever owns the partitions."""

    def requests(self, lanes: Sequence[LaneId]) -> list[Request]:
        """What operators want, the oldest first."""

    def drop(self, lane: LaneId, offset: int, reason: str) -> None:
        """Keeps the fact, outside of generations, that this event is to be skipped, with the first reason given."""

    def dropped(self, lane: LaneId) -> dict[int, Dropped]:
        """What operators have dropped, by offset."""

    def pass_by(self, lane: LaneId) -> None:
        """What is parked counts no longer against the consumer."""

    def finish(self, request: Request) -> None:
        """The request has been carried out."""
