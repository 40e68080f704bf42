"""What the engine asks of a place that keeps effects: positions, and a whole batch applied with its position.

One store object serves one consumer. Calls block; the engine calls from a thread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from schemas.event import Event
from streams.engine.consumer import Row


class Parked(NamedTuple):
    """An event that could not be applied, or that waits behind one: `offset` is where it is in its partition."""

    offset: int
    key: str
    reason: str


class Progress(NamedTuple):
    """Where a consumer is in a partition: the next offset it needs, and the aggregates that have parked events."""

    position: int
    waiting: frozenset[str]


class Known(NamedTuple):
    """What the store holds for the aggregates and rows that a batch touches; what it does not hold is left out."""

    versions: Mapping[str, int]
    rows: Mapping[str, Row]


class Wanted(NamedTuple):
    """The aggregates whose versions, and the rows, that a batch needs."""

    aggregates: Sequence[str]
    rows: Sequence[str]


@dataclass
class Write:
    """One partition's batch, ready to be applied: effects, versions, parked events and position in one.

    `expected` is the position that the effects were computed from; `position` the one after them. A view's effects
    are `rows` (None deletes), a table's are `records` (each with its offset), a reaction's are `events`.
    """

    partition: int
    expected: int
    position: int
    versions: dict[str, int] = field(default_factory=dict)
    parked: list[Parked] = field(default_factory=list)
    rows: dict[str, Row | None] = field(default_factory=dict)
    records: list[tuple[int, Row]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


class Store(Protocol):
    """The contract that Redis, PostgreSQL, ClickHouse and the tests' memory keep."""

    #: Errors that say "not now" and nothing about the batch: the engine tries the same batch again.
    unavailable: tuple[type[Exception], ...]

    def progress(self, partitions: Sequence[int]) -> dict[int, Progress]:
        """The stored progress of each partition; position 0 where nothing is stored."""

    def read(self, wanted: Mapping[int, Wanted]) -> Mapping[int, Known]:
        """What a batch needs to know, by partition."""

    def apply(self, writes: Sequence[Write]) -> set[int]:
        """Applies each partition's write whole or not at all; gives the partitions that were refused.

        A write is refused when the stored position is not the expected one: somebody else has moved it.
        """
