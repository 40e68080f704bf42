"""Views in Redis: rows, versions, parked events and position of a partition, changed by one Lua call.

Keys of generation 3 of the view `order`, partition 0 (the braces put them in one slot of a Redis Cluster):

    live:order              the number of the generation that readers see
    view:{order.3:0}        hash: row key to row, as JSON ready to send
    version:{order.3:0}     hash: aggregate id to the version that was applied last
    parked:{order.3:0}      hash: offset to a parked event, as JSON
    rank:{order.3:0}        sorted set: row key by the view's RANK field
    position:{order.3:0}    the next offset, or SEALED once another generation has taken over
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha1, sha256
from typing import Any, NamedTuple

import orjson
from redis import Redis
from redis.exceptions import NoScriptError, RedisError

from streams.engine.consumer import Row, View
from streams.engine.stores import Known, Progress, Wanted, Write

SEALED = "sealed"

_APPLY = """
local position = redis.call('GET', KEYS[1]) or '0'
if position ~= ARGV[1] then return 0 end
local at = 3
local function each(command, key)
  local last = at + tonumber(ARGV[at])
  -- Lua can unpack some thousand values at once; an even step keeps pairs together.
  for first = at + 1, last, 4000 do
    redis.call(command, key, unpack(ARGV, first, math.min(first + 3999, last)))
  end
  at = last + 1
end
each('HSET', KEYS[2]) each('HDEL', KEYS[2]) each('ZADD', KEYS[5]) each('ZREM', KEYS[5])
each('HSET', KEYS[3]) each('HSET', KEYS[4])
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
# How Redis names a script that it has loaded.
_APPLY_SHA = sha1(_APPLY.encode()).hexdigest()  # noqa: S324


class Keys(NamedTuple):
    """The keys of one partition of one generation of a view."""

    position: str
    rows: str
    versions: str
    parked: str
    rank: str


def keys_of(view: str, generation: int, partition: int) -> Keys:
    """The keys as the module's docstring lays them out."""
    tag = f"{{{view}.{generation}:{partition}}}"
    return Keys(*(f"{kind}:{tag}" for kind in ("position", "view", "version", "parked", "rank")))


def live_key(view: str) -> str:
    """The key that holds the number of the live generation."""
    return f"live:{view}"


def connect(url: str) -> "Redis":
    """A client with timeouts; it reconnects by itself."""
    return Redis.from_url(
        url, socket_timeout=10, socket_connect_timeout=5, socket_keepalive=True, health_check_interval=30
    )


class RedisStore:
    """The store of one view; of its live generation unless told which."""

    unavailable: tuple[type[Exception], ...] = (RedisError, OSError)

    def __init__(self, client: "Redis", view: View, generation: int | None = None) -> None:
        self._client = client
        self._view = view
        self._fixed = generation
        self._generations: dict[int, int] = {}

    def progress(self, partitions: Sequence[int]) -> dict[int, Progress]:
        """Looks up the live generation anew: a sealed one is left here for its successor."""
        generation = self._fixed or self._live_generation()
        self._generations.update(dict.fromkeys(partitions, generation))
        pipeline = self._client.pipeline(transaction=False)
        for partition in partitions:
            keys = self._keys(partition)
            pipeline.get(keys.position)
            pipeline.hvals(keys.parked)
        answers = pipeline.execute()
        return {
            partition: Progress(int(position or 0), frozenset(orjson.loads(p)["key"] for p in parked))
            for partition, position, parked in zip(partitions, answers[::2], answers[1::2], strict=True)
        }

    def read(self, wanted: Mapping[int, Wanted]) -> Mapping[int, Known]:
        """Versions and rows of all partitions in one round trip."""
        pipeline = self._client.pipeline(transaction=False)
        asked: list[tuple[int, str, Sequence[str]]] = []
        for partition, (aggregates, rows) in wanted.items():
            keys = self._keys(partition)
            for kind, key, fields in (("version", keys.versions, aggregates), ("row", keys.rows, rows)):
                if fields:
                    pipeline.hmget(key, fields)
                    asked.append((partition, kind, fields))
        versions: dict[int, dict[str, int]] = {partition: {} for partition in wanted}
        found: dict[int, dict[str, Row]] = {partition: {} for partition in wanted}
        for (partition, kind, fields), values in zip(asked, pipeline.execute() if asked else [], strict=True):
            pairs = ((name, value) for name, value in zip(fields, values, strict=True) if value is not None)
            if kind == "version":
                versions[partition].update((name, int(value)) for name, value in pairs)
            else:
                found[partition].update((name, orjson.loads(value)) for name, value in pairs)
        return {partition: Known(versions[partition], found[partition]) for partition in wanted}

    def apply(self, writes: Sequence[Write]) -> set[int]:
        """One Lua call a partition, all in one round trip."""
        calls = [(*self._keys(write.partition), *self._arguments(write)) for write in writes]
        try:
            done = self._call(calls)
        except NoScriptError:  # the first call, or Redis was started anew; a call that was applied is refused below
            self._client.script_load(_APPLY)
            done = self._call(calls)
        return {write.partition for write, applied in zip(writes, done, strict=True) if not applied}

    def _call(self, calls: Sequence[Sequence[Any]]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for call in calls:
            pipeline.evalsha(_APPLY_SHA, len(Keys._fields), *call)
        return pipeline.execute()

    def _arguments(self, write: Write) -> list[Any]:
        kept = {key: row for key, row in write.rows.items() if row is not None}
        gone = [key for key, row in write.rows.items() if row is None]
        rank = self._view.rank
        arguments: list[Any] = [write.expected, write.position]
        for group in (
            _flat((key, orjson.dumps(row)) for key, row in kept.items()),
            gone,
            _flat((row[rank], key) for key, row in kept.items()) if rank else [],
            gone if rank else [],
            _flat(write.versions.items()),
            _flat((parked.offset, orjson.dumps(parked._asdict())) for parked in write.parked),
        ):
            arguments.append(len(group))
            arguments.extend(group)
        return arguments

    def _keys(self, partition: int) -> Keys:
        return keys_of(self._view.name, self._generations[partition], partition)

    def _live_generation(self) -> int:
        self._client.setnx(live_key(self._view.name), 1)
        return int(self._client.get(live_key(self._view.name)) or 1)


class RedisGenerations:
    """The successor of a view's live generation, from an empty start to the switch of readers."""

    def __init__(self, client: "Redis", view: View, partitions: int) -> None:
        self._client = client
        self._view = view
        self._partitions = range(partitions)
        self.live = int(client.get(live_key(view.name)) or 1)
        self.next = self.live + 1

    def begin(self) -> dict[int, int]:
        """Clears what a failed attempt left, and keeps a copy of the live rows to compare with.

        Gives the positions at which the copy was made.
        """
        self._delete(self.next)
        return {partition: self._copy_partition(partition) for partition in self._partitions}

    def store(self) -> RedisStore:
        """The store of the next generation."""
        return RedisStore(self._client, self._view, self.next)

    def identical(self) -> bool:
        """Whether the next generation has the same bytes as the copy; only true at the positions of the copy."""
        return all(
            self._content(self._keys(self.next, partition)) == self._content(self._copy_keys(partition))
            for partition in self._partitions
        )

    def live_positions(self) -> dict[int, int]:
        """Where the live generation is now."""
        keys = [self._keys(self.live, partition).position for partition in self._partitions]
        return {p: int(value or 0) for p, value in zip(self._partitions, self._client.mget(keys), strict=True)}

    def switch(self) -> dict[int, int]:
        """Shows the next generation to readers and seals the live one, in one step.

        Gives the positions that the sealed one had reached. Its writers are refused from now on, and move over.
        """
        pipeline = self._client.pipeline(transaction=True)
        pipeline.set(live_key(self._view.name), self.next)
        for partition in self._partitions:
            pipeline.set(self._keys(self.live, partition).position, SEALED, get=True)
        _, *positions = pipeline.execute()
        return {p: int(value or 0) for p, value in zip(self._partitions, positions, strict=True)}

    def finish(self) -> None:
        """Deletes the generation that was live. Its seals stay for a day, for writers that come late."""
        self._delete(self.live)
        for partition in self._partitions:
            self._client.set(self._keys(self.live, partition).position, SEALED, ex=86_400)

    def abandon(self) -> None:
        """Deletes the next generation; the live one stays as it is."""
        self._delete(self.next)

    def _copy_partition(self, partition: int) -> int:
        live, copy = self._keys(self.live, partition), self._copy_keys(partition)
        pipeline = self._client.pipeline(transaction=True)
        pipeline.get(live.position)
        for source, target in zip(live, copy, strict=True):
            pipeline.copy(source, target, replace=True)
        return int(pipeline.execute()[0] or 0)

    def _content(self, keys: Keys) -> tuple[int, int, int]:
        """Counts of what is kept and parked, and a digest of it, whatever order Redis gives it in."""
        count, digest = 0, 0
        for key in (keys.rows, keys.versions):
            for field, value in self._client.hscan_iter(key, count=2_000):
                count += 1
                digest ^= int.from_bytes(sha256(b"%d:%b%b" % (len(field), field, value)).digest())
        return count, self._client.hlen(keys.parked), digest

    def _delete(self, generation: int) -> None:
        for partition in self._partitions:
            self._client.unlink(*self._keys(generation, partition), *self._copy_keys(partition))

    def _keys(self, generation: int, partition: int) -> Keys:
        return keys_of(self._view.name, generation, partition)

    def _copy_keys(self, partition: int) -> Keys:
        # The same hash tag, so that the copy is made within one slot.
        return Keys(*(f"copy:{key}" for key in self._keys(self.live, partition)))


def _flat(pairs: Iterable[tuple[Any, Any]]) -> list[Any]:
    return [item for pair in pairs for item in pair]


def parked_count(client: "Redis", view: str, generation: int, partitions: int) -> int:
    """How many events of the generation are parked."""
    pipeline = client.pipeline(transaction=False)
    for partition in range(partitions):
        pipeline.hlen(keys_of(view, generation, partition).parked)
    return sum(pipeline.execute())
