"""`marea verify`: is every view and table what PostgreSQL says it has to be, and has every reaction done its work?

States are read from the services' own tables and turned, by the `expected` of each consumer, into
the rows that it must hold. While traffic goes on, two sides that are read one after the other differ for a moment. So
a difference counts only if it stands still: every further look finds the same key with the same two rows, and the
last look comes after the relay and the consumers have passed all that there was at the first.

Rows are compared by digest, one part at a time, so that memory does not grow with what they contain.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic, sleep
from typing import Any, NamedTuple, Protocol

import orjson

from ops import history
from ops.barrier import Barrier
from ops.comparisons import Comparisons
from ops.positions import parked
from ops.states import Keyed, Part
from streams.engine.consumer import Row

#: Seconds that the relay and the consumers get to pass what there was at the first look.
PATIENCE_S = 60.0
#: Seconds between two looks at something that differs.
PAUSE_S = 0.3
#: Keys of one consumer whose differing rows are shown; all are counted.
SHOWN = 1_000
#: The field of a difference in which one side has no row at all.
WHOLE_ROW = "*"
#: The value of a field that one side's row does not have.
MISSING = "(missing)"

#: Partition and key of a row.
RowId = tuple[int, str]
#: The digests of the expected and of the actual row, where they are not the same; None is no row.
Differing = dict[RowId, tuple[int | None, int | None]]


class Difference(NamedTuple):
    """One field, or one whole row, that is not as PostgreSQL has it."""

    consumer: str
    key: str
    field: str
    expected: Any
    actual: Any


@dataclass
class Verified:
    """By consumer: how many rows were expected, and how many differ; of views, their index entries count as rows.

    `differences` are those of the first SHOWN rows of each consumer; `parked` has the consumers with parked events,
    and how many. With `behind`, the relay or a consumer did not pass in time, so what differs may only be late.
    """

    checked: dict[str, int] = field(default_factory=dict)
    differing: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    parked: dict[str, int] = field(default_factory=dict)
    behind: bool = False

    def totals(self) -> dict[str, int]:
        """Rows in all."""
        return {"checked": sum(self.checked.values()), "differences": sum(self.differing.values())}


@dataclass
class Look:
    """What one look at one consumer found; `expected` and `actual` are the rows asked for."""

    checked: int = 0
    differing: Differing = field(default_factory=dict)
    expected: dict[RowId, Row] = field(default_factory=dict)
    actual: dict[RowId, Row] = field(default_factory=dict)


def look(parts: Iterable[Part], wanted: Collection[RowId] = ()) -> Look:
    """Compares part by part; `wanted` rows are kept."""
    found = Look()
    for part in parts:
        keys = {key for partition, key in wanted if partition == part.partition}
        expected, kept = _digests(part.expected, keys)
        found.expected.update(((part.partition, key), row) for key, row in kept.items())
        actual, kept = _digests(part.actual, keys)
        found.actual.update(((part.partition, key), row) for key, row in kept.items())
        found.checked += len(expected)
        found.differing.update(
            ((part.partition, key), (expected.get(key), actual.get(key)))
            for key in expected.keys() | actual.keys()
            if expected.get(key) != actual.get(key)
        )
    return found


def standing(before: Differing, after: Differing) -> Differing:
    """The differences that a later look found unchanged on both sides."""
    return dict(before.items() & after.items())


def differences(consumer: str, key: str, expected: Row | None, actual: Row | None) -> Iterator[Difference]:
    """Field by field where both sides have the row, as a whole where one has not."""
    if expected is None or actual is None:
        yield Difference(consumer, key, WHOLE_ROW, expected, actual)
        return
    # Compared as JSON: PostgreSQL and ClickHouse give the same time as different objects.
    expected, actual = orjson.loads(_canonical(expected)), orjson.loads(_canonical(actual))
    for name in sorted(expected.keys() | actual.keys()):
        sides = expected.get(name, MISSING), actual.get(name, MISSING)
        if sides[0] != sides[1]:
            yield Difference(consumer, key, name, *sides)


def _digests(rows: Iterable[Keyed], wanted: Collection[str]) -> tuple[dict[str, int], dict[str, Row]]:
    """By key the digest of its row, and the rows that are wanted."""
    digests: dict[str, int] = {}
    kept: dict[str, Row] = {}
    for key, row in rows:
        # Python's own hash of bytes has 64 bits, and is the same for the life of this process.
        digests[key] = hash(_canonical(row))
        if key in wanted:
            kept[key] = row
    return digests, kept


def _canonical(row: Row) -> bytes:
    """The same bytes for the same values, in whatever order the fields come."""
    return orjson.dumps(row, option=orjson.OPT_SORT_KEYS | orjson.OPT_NAIVE_UTC)


class Comparable(Protocol):
    """What can be looked at: see ops/comparisons.py."""

    def parts(self, names: Collection[str] | None = None) -> Iterable[tuple[str, Iterable[Part]]]:
        """By consumer, its parts; of all consumers unless told which."""


class Passable(Protocol):
    """What there was at a moment, on its way: see ops/barrier.py."""

    def is_passed(self) -> bool:
        """Whether all of it has been applied."""


def verify() -> Verified:
    """Compares all that there is to compare, and waits until what differs is equal or stands still.

    Raises CannotVerify when something can't be compared, or what a store raises.
    """
    sides = Comparisons()
    verified = compare(sides, Barrier, lambda: sleep(PAUSE_S))
    verified.parked = parked()
    history.note(verified)
    return verified


def compare(
    sides: Comparable, follow: Callable[[Collection[str]], Passable], pause: Callable[[], None]
) -> Verified:
    """Looks until no difference is left that may still go away by itself.

    `follow` begins to follow what there is now on its way to the named consumers.
    """
    verified = Verified()
    suspects: dict[str, Differing] = {}
    for name, parts in sides.parts():
        found = look(parts)
        verified.checked[name] = found.checked
        if found.differing:
            suspects[name] = found.differing
    if suspects:
        barrier = follow(suspects)
        deadline = monotonic() + PATIENCE_S
        passed = late = False
        while suspects and not passed and not late:
            pause()
            late = monotonic() > deadline
            passed = barrier.is_passed()
            suspects = _look_again(sides, suspects, verified)
        verified.behind = bool(suspects) and not passed
    return verified


def _look_again(
    sides: Comparable, suspects: dict[str, Differing], verified: Verified
) -> dict[str, Differing]:
    """What of the suspects stands still. `verified` gets their differences as they are now."""
    still: dict[str, Differing] = {}
    verified.differing, verified.differences = {}, []
    for name, parts in sides.parts(suspects):
        shown = set(islice(suspects[name], SHOWN))
        found = look(parts, shown)
        standing_still = standing(suspects[name], found.differing)
        if not standing_still:
            continue
        still[name] = standing_still
        verified.differing[name] = len(standing_still)
        for row_id in sorted(standing_still.keys() & shown):
            rows = found.expected.get(row_id), found.actual.get(row_id)
            verified.differences += differences(name, row_id[1], *rows)
    return still
