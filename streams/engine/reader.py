"""Reading views: the live generation's rows, as JSON ready to send."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import uniform
from threading import BoundedSemaphore
from time import monotonic, sleep
from typing import Any, NamedTuple

import orjson

from kernel import token
from kernel.partition import partition_of
from kernel.refusals import Parked, Unavailable
from kernel.token import Version
from streams.engine.stores.redis import Keys, connect, keys_of, live_generation, live_key

#: Seconds between two looks at a view that is behind what a read has to see: more each time, within these bounds.
_LOOK_S, _MOST_LOOK_S = 0.002, 0.05


class After(NamedTuple):
    """What a read has to see: versions of the view's topic, for which it waits so many seconds."""

    versions: Sequence[Version] = ()
    wait_s: float = 0.0


ANY = After()


class Views:
    """Reads any view. Rows are bytes of JSON; a missing row is None.

    The live generation's number is read in the same round trip as the rows, so a reader never sees a generation
    that readers have been switched away from. So are the versions that a read has to come `after`, before the rows.
    While they are not there it waits, as one of at most `waiting` at once; it raises Unavailable when they do not come
    or too many wait, and Parked when they can't come because an event before them is parked.
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
            lambda pipeline, generation: [
                pipeline.hget(keys_of(view, generation, partition).rows, key)
                for key, partition in zip(keys, places, strict=True)
            ],
            after,
        )

    def parts(self, view: str, key: str, after: After = ANY) -> list[bytes]:
        """The rows under `key` in all partitions, for a view whose key is not the aggregate's id."""
        rows = self._read(
            view,
            lambda pipeline, generation: [
                pipeline.hget(keys_of(view, generation, partition).rows, key)
                for partition in range(self._partitions)
            ],
            after,
        )
        return [row for row in rows if row is not None]

    def below(self, view: str, limit: int, count: int, after: After = ANY) -> list[bytes]:
        """At most `count` rows whose RANK field is below `limit`, the lowest first."""
        ranked = self._read(
            view,
            lambda pipeline, generation: [
                pipeline.zrange(
                    keys_of(view, generation, partition).rank,
                    "-inf",
                    f"({limit}",
                    byscore=True,
                    offset=0,
                    num=count,
                    withscores=True,
                )
                for partition in range(self._partitions)
            ],
            after,
        )
        lowest = sorted((score, key) for group in ranked for key, score in group)[:count]
        rows = self.many(view, [key.decode() for _, key in lowest])
        return [row for row in rows if row is not None]

    def rows(self, view: str, partition: int) -> Iterator[tuple[str, bytes]]:
        """Every row of a partition, in no order; a row that changes meanwhile comes once at least."""
        generation = self.generation(view)
        for key, row in self._client.hscan_iter(keys_of(view, generation, partition).rows, count=1_000):
            yield key.decode(), row

    def generation(self, view: str) -> int:
        """The live generation's number; 1 before the first worker has run."""
        return live_generation(self._client, view)

    def _read(self, view: str, ask: Callable[[Any, int], Any], after: After = ANY) -> list[Any]:
        answers, missing = self._look(view, ask, after)
        if missing is None:
            return answers
        if not self._places.acquire(blocking=False):
            raise Unavailable("Too many reads wait for what they have to see: try again.")
        try:
            return self._wait(view, ask, after)
        finally:
            self._places.release()

    def _wait(self, view: str, ask: Callable[[Any, int], Any], after: After) -> list[Any]:
        until, pause = monotonic() + after.wait_s, _LOOK_S
        while True:
            answers, missing = self._look(view, ask, after)
            if missing is None:
                return answers
            if self._is_parked(view, missing):
                raise Parked(f"{missing.key} waits in the view {view} for an operator: an event of it is parked.")
            if monotonic() >= until:
                raise Unavailable(f"The view {view} has not seen version {missing.version} of {missing.key} yet: try again.")
            sleep(pause * uniform(0.5, 1))
            pause = min(2 * pause, _MOST_LOOK_S)

    def _look(self, view: str, ask: Callable[[Any, int], Any], after: After) -> tuple[list[Any], Version | None]:
        """The rows, and a version that they may not show yet."""
        generation = self._live.get(view, 1)
        while True:
            pipeline = self._client.pipeline(transaction=False)
            pipeline.get(live_key(view))
            for version in after.versions:
                pipeline.hget(self._keys(view, generation, version.key).versions, version.key)
            ask(pipeline, generation)
            live, *answers = pipeline.execute()
            shown = int(live) if live else self.generation(view)
            if shown == generation:
                break
            self._live[view] = generation = shown
        there, rows = answers[: len(after.versions)], answers[len(after.versions) :]
        found = zip(after.versions, there, strict=True)
        return rows, next((each for each, number in found if int(number or 0) < each.version), None)

    def _is_parked(self, view: str, version: Version) -> bool:
        parked: Any = self._client.hvals(self._keys(view, self._live.get(view, 1), version.key).parked)
        return any(orjson.loads(event)["key"] == version.key for event in parked)

    def _keys(self, view: str, generation: int, key: str) -> Keys:
        return keys_of(view, generation, partition_of(key, self._partitions))
