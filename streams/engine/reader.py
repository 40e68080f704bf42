"""Reading views: the live generation's rows, as JSON ready to send."""

from collections.abc import Iterator, Sequence
from typing import Any

from kernel.partition import partition_of
from streams.engine.stores.redis import connect, keys_of, live_generation, live_key


class Views:
    """Reads any view. Rows are bytes of JSON; a missing row is None.

    The live generation's number is read in the same round trip as the rows, so a reader never sees a generation
    that readers have been switched away from.
    """

    def __init__(self, redis_url: str, partitions: int) -> None:
        self._client = connect(redis_url)
        self._partitions = partitions
        self._live: dict[str, int] = {}

    def get(self, view: str, key: str) -> bytes | None:
        """One row."""
        return self.many(view, [key])[0]

    def many(self, view: str, keys: Sequence[str]) -> list[bytes | None]:
        """The rows of several keys, in their order."""
        places = [partition_of(key, self._partitions) for key in keys]
        return self._read(
            view,
            lambda pipeline, generation: [
                pipeline.hget(keys_of(view, generation, partition).rows, key)
                for key, partition in zip(keys, places, strict=True)
            ],
        )

    def parts(self, view: str, key: str) -> list[bytes]:
        """The rows under `key` in all partitions, for a view whose key is not the aggregate's id."""
        rows = self._read(
            view,
            lambda pipeline, generation: [
                pipeline.hget(keys_of(view, generation, partition).rows, key)
                for partition in range(self._partitions)
            ],
        )
        return [row for row in rows if row is not None]

    def below(self, view: str, limit: int, count: int) -> list[bytes]:
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

    def _read(self, view: str, ask: Any) -> list[Any]:
        generation = self._live.get(view, 1)
        while True:
            pipeline = self._client.pipeline(transaction=False)
            pipeline.get(live_key(view))
            ask(pipeline, generation)
            live, *answers = pipeline.execute()
            shown = int(live) if live else self.generation(view)
            if shown == generation:
                return answers
            self._live[view] = generation = shown
