"""Reading views: the live generation's rows, as JSON ready to send."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import uniform
from threading import BoundedSemaphore
from time import monotonic, sleep
from typing import Any, NamedTuple

import orjson

from kernel import token
from kernel.metrics import measured
from kernel.partition import partition_of
from kernel.refusals import Parked, Unavailable
from kernel.token import Version
from streams.engine.indexes import Range, parts_of
from streams.engine.stores.redis import Command, Keys, ask, connect, keys_of, live_generation, live_key

#: Seconds between two looks at a view that is behind what a read has to see: more each time, within these bounds.
_LOOK_S, _MOST_LOOK_S = 0.002, 0.05
#: Seconds between two looks at what is parked, which may be much.
_CHECK_S = 1.0


class After(NamedTuple):
    """What a read has to see: versions of the view's topic, for which it waits so many seconds."""

    versions: Sequence[Version] = ()
    wait_s: float = 0.0


ANY = After()


class _Seen(NamedTuple):
    """The rows; a version that they may not show yet; and in which of the token's partitions something is parked."""

    rows: list[Any]
    missing: Version | None
    parked: set[int]


class Page(NamedTuple):
    """Some rows, and the place behind which the next page begins; None when there is no more."""

    rows: list[bytes]
    next: str | None


class Views:
    """Reads any view. Rows are bytes of JSON; a missing row is None.

    The live generation's number is read in the same round trip as the rows, so a reader never sees a generation
    that readers have been switched away from. So are the versions that a read has to come `after`, before the rows.
    While they are not there it waits, as one of at most `waiting` at once; it raises Unavailable when they do not come
    or too many wait, and Parked when an event of what it asks for, or waits for, is parked.
    """

    def __init__(self, redis_url: str, partitions: int, waiting: int = 1) -> None:
        self._client = connect(redis_url)
        self._partitions = partitions
        self._places = BoundedSemaphore(waiting)
        self._live: dict[str, int] = {}

    def token(self, versions: Iterable[Version]) -> str:
        """What a read brings along to see these versions, in the order in which they came about.

        Of each topic and partition the last one will do: what is before it has been applied by then.
        """
        return token.encode({(each.topic, partition_of(each.key, self._partitions)): each for each in versions}.values())

    def get(self, view: str, key: str, after: After = ANY) -> bytes | None:
        """One row."""
        return self.many(view, [key], after)[0]

    def many(self, view: str, keys: Sequence[str], after: After = ANY) -> list[bytes | None]:
        """The rows of several keys, in their order."""
        places = [partition_of(key, self._partitions) for key in keys]
        return self._read(
            view,
            lambda generation: [
                ("HGET", keys_of(view, generation, partition).rows, key)
                for key, partition in zip(keys, places, strict=True)
            ],
            after,
            keys,
        )

    def of_several(self, wanted: Sequence[tuple[str, str, After]]) -> list[bytes | None]:
        """A row of each of several views, by its key: in one round trip, unless one of them has to have seen something."""
        if any(after.versions for _, _, after in wanted):
            return [self.get(view, key, after) for view, key, after in wanted]
        while True:
            generations = [self._live.get(view, 1) for view, _, _ in wanted]
            names: list[Command] = [("GET", live_key(view)) for view, _, _ in wanted]
            rows: list[Command] = [
                ("HGET", self._keys(view, generation, key).rows, key)
                for (view, key, _), generation in zip(wanted, generations, strict=True)
            ]
            answers = ask(self._client, [*names, *rows])
            live = [int(each) if each else 1 for each in answers[: len(wanted)]]
            if live == generations:
                return answers[len(wanted) :]
            self._live |= {view: number for (view, _, _), number in zip(wanted, live, strict=True)}

    def page(self, view: str, wanted: Range, limit: int, behind: str | None = None, after: After = ANY) -> Page:
        """At most `limit` rows in an index's order, from `behind` a place on.

        What it costs does not depend on how many entries there are. The entries of all partitions are read at once,
        then their rows: a row that changes in between comes as it is by then, and not at all if it is deleted by then.
        So a page may show a row that has just ceased to be in the range, and have fewer rows than it may. A row whose
        sort key stays the same comes on just one of the pages that follow each other, whatever else changes.
        """
        while True:
            generation, page = self._live.get(view), self._page(view, wanted, limit, behind, after)
            # Else the rows may be of a generation that lacks the last ones of those whose entries were read.
            if self._live.get(view) == generation:
                return page

    def _page(self, view: str, wanted: Range, limit: int, behind: str | None, after: After) -> Page:
        lower, upper = wanted.bounds(behind)
        between = (f"({upper}", f"({lower}", "BYLEX", "REV") if wanted.descending else (f"({lower}", f"({upper}", "BYLEX")
        found = self._read(
            view,
            lambda generation: [
                ("ZRANGE", keys_of(view, generation, partition).entries, *between, "LIMIT", 0, limit + 1)
                for partition in range(self._partitions)
            ],
            after,
        )
        entries = sorted(
            ((entry.decode(), partition) for partition, group in enumerate(found) for entry in group),
            reverse=wanted.descending,
        )
        shown = entries[:limit]
        place = wanted.place(shown[-1][0]) if len(entries) > limit else None
        return Page(self._rows_of(view, shown, after), place)

    def _rows_of(self, view: str, entries: Sequence[tuple[str, int]], after: After) -> list[bytes]:
        """The rows of entries with their partitions, in this order."""
        keys: dict[int, list[str]] = {}
        for entry, partition in entries:
            keys.setdefault(partition, []).append(parts_of(entry)[-1])
        found = self._read(
            view,
            lambda generation: [
                ("HMGET", keys_of(view, generation, partition).rows, *some) for partition, some in keys.items()
            ],
            after,
        )
        left = {partition: iter(rows) for partition, rows in zip(keys, found, strict=True)}
        rows = [next(left[partition]) for _, partition in entries]
        return [row for row in rows if row is not None]

    def rows(self, view: str, partition: int) -> Iterator[tuple[str, bytes]]:
        """Every row of a partition, in no order; a row that changes meanwhile comes once at least."""
        generation = self.generation(view)
        for key, row in self._client.hscan_iter(keys_of(view, generation, partition).rows, count=1_000):
            yield key.decode(), row

    def entries(self, view: str, partition: int) -> Iterator[str]:
        """Every index entry of a partition, in no order; one that is there all the while comes once at least."""
        generation = self.generation(view)
        for entry, _ in self._client.zscan_iter(keys_of(view, generation, partition).entries, count=1_000):
            yield entry.decode()

    def generation(self, view: str) -> int:
        """The live generation's number; 1 before the first worker has run."""
        return live_generation(self._client, view)

    def _read(
        self, view: str, wanted: Callable[[int], Sequence[Command]], after: After = ANY, keys: Sequence[str] = ()
    ) -> list[Any]:
        """What is asked for, of these keys, once the view has seen what it has to."""
        seen = self._look(view, wanted, after)
        if seen.missing:
            if not self._places.acquire(blocking=False):
                raise Unavailable("Too many reads wait for what they have to see: try again.")
            try:
                seen = self._wait(view, wanted, after, seen)
            finally:
                self._places.release()
        self._check_parked(view, [key for key in keys if self._partition(key) in seen.parked])
        return seen.rows

    def _wait(self, view: str, wanted: Callable[[int], Sequence[Command]], after: After, seen: "_Seen") -> "_Seen":
        until, pause, check_at = monotonic() + after.wait_s, _LOOK_S, monotonic()
        while missing := seen.missing:
            if self._partition(missing.key) in seen.parked and monotonic() >= check_at:
                self._check_parked(view, [missing.key])
                check_at = monotonic() + _CHECK_S
            if monotonic() >= until:
                raise Unavailable(f"The view {view} has not seen version {missing.version} of {missing.key} yet: try again.")
            sleep(pause * uniform(0.5, 1))
            pause = min(2 * pause, _MOST_LOOK_S)
            seen = self._look(view, wanted, after)
        return seen

    @measured("redis", "look")
    def _look(self, view: str, wanted: Callable[[int], Sequence[Command]], after: After) -> "_Seen":
        generation = self._live.get(view, 1)
        while True:
            commands: list[Command] = [("GET", live_key(view))]
            for version in after.versions:
                keys = self._keys(view, generation, version.key)
                commands += [("HGET", keys.versions, version.key), ("HLEN", keys.parked)]
            live, *answers = ask(self._client, [*commands, *wanted(generation)])
            shown = int(live) if live else self.generation(view)
            if shown == generation:
                break
            self._live[view] = generation = shown
        count = len(after.versions)
        versions, parked, rows = answers[: 2 * count : 2], answers[1 : 2 * count : 2], answers[2 * count :]
        missing = (each for each, number in zip(after.versions, versions, strict=True) if int(number or 0) < each.version)
        has_parked = {self._partition(each.key) for each, number in zip(after.versions, parked, strict=True) if number}
        return _Seen(rows, next(missing, None), has_parked)

    def _check_parked(self, view: str, keys: Sequence[str]) -> None:
        """Raises Parked if an event of one of these aggregates is."""
        for key in keys:
            events: Any = self._client.hscan_iter(self._keys(view, self._live.get(view, 1), key).parked, count=1_000)
            if any(orjson.loads(event)["key"] == key for _, event in events):
                raise Parked(f"{key} waits in the view {view} for an operator: an event of it is parked.")

    def _partition(self, key: str) -> int:
        return partition_of(key, self._partitions)

    def _keys(self, view: str, generation: int, key: str) -> Keys:
        return keys_of(view, generation, partition_of(key, self._partitions))
