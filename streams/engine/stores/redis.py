"""Views in Redis: rows, versions, parked events and position of a partition, changed by one Lua call.

Keys of generation 3 of the view `order`, partition 0 (the braces put them in one slot of a Redis Cluster):

    position:{order.3:0}    hash: `offset`, the next one, or SEALED once another generation has taken over; `epoch`
    view:{order.3:0}        hash: row key to row, as JSON ready to send
    version:{order.3:0}     hash: aggregate id to the version that was applied last
    parked:{order.3:0}      hash: offset to a parked event, as JSON
    rank:{order.3:0}        sorted set: row key by the view's RANK field

And beside all generations:

    live:order              the number of the generation that readers see
    fold:order              hash: generation to the fingerprint of the code that built it
    dropped:order:0         hash: offset that an operator has dropped to why and when, as JSON
    request:order:0         hash: what operators want, by the request's id, as JSON
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha1, sha256
from typing import Any, NamedTuple

import orjson
from redis import Redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from kernel.code import fingerprint
from streams.engine.consumer import View, consumer_id
from streams.engine.folds import fold_of
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
)

SEALED = "sealed"

_APPLY = """
local offset = redis.call('HGET', KEYS[1], 'offset') or '0'
if offset ~= ARGV[1] then return 0 end
local at = 4
local function each(command, key)
  local last = at + tonumber(ARGV[at])
  -- Lua can unpack some thousand values at once; an even step keeps pairs together.
  for first = at + 1, last, 4000 do
    redis.call(command, key, unpack(ARGV, first, math.min(first + 3999, last)))
  end
  at = last + 1
end
each('HSET', KEYS[2]) each('HDEL', KEYS[2]) each('ZADD', KEYS[5]) each('ZREM', KEYS[5])
each('HSET', KEYS[3]) each('HSET', KEYS[4]) each('HDEL', KEYS[4])
redis.call('HSET', KEYS[1], 'offset', ARGV[2], 'epoch', ARGV[3])
return 1
"""
# Refusals to write anything, whoever asks, as Redis names them; they may be quoted in what it says of a script.
_ABOUT_REDIS = re.compile(r"(^|-)(OOM|READONLY|MISCONF|NOREPLICAS|MASTERDOWN|CLUSTERDOWN|BUSY) ")
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


def fold_key(view: str) -> str:
    """The key of the fingerprints, by generation, of the code that built it."""
    return f"fold:{view}"


def dropped_key(view: str, partition: int) -> str:
    """The key of the offsets that were dropped."""
    return f"dropped:{view}:{partition}"


def request_key(view: str, partition: int) -> str:
    """The key of what operators want."""
    return f"request:{view}:{partition}"


def connect(url: str) -> "Redis":
    """A client with timeouts; it reconnects by itself."""
    return Redis.from_url(
        url, socket_timeout=10, socket_connect_timeout=5, socket_keepalive=True, health_check_interval=30
    )


class RedisStore:
    """The store of all views; of their live generations unless told which."""

    unavailable: tuple[type[Exception], ...] = (RedisError, OSError)

    def __init__(self, client: "Redis", views: Iterable[View], generation: int | None = None) -> None:
        self._client = client
        self._views = {consumer_id(view): view for view in views}
        self._fixed = generation
        self._keys: dict[LaneId, Keys] = {}

    def progress(self, lanes: Sequence[LaneId]) -> dict[LaneId, Progress]:
        """Looks up the live generations anew: a sealed one is left here for its successor."""
        live = {name: self._fixed or self._live_generation(view) for name, view in self._views.items()}
        pipeline = self._client.pipeline(transaction=False)
        for lane in lanes:
            view = self._views[lane.consumer].name
            keys = self._keys[lane] = keys_of(view, live[lane.consumer], lane.partition)
            pipeline.hmget(keys.position, "offset", "epoch")
            pipeline.hvals(keys.parked)
            pipeline.hkeys(dropped_key(view, lane.partition))
        answers = pipeline.execute()
        return {
            lane: _progress(*answers[3 * number : 3 * number + 3]) for number, lane in enumerate(lanes)
        }

    def positions(self, lanes: Sequence[LaneId]) -> dict[LaneId, int]:
        """One round trip. Of a sealed generation the position is -1: it is nobody's any more."""
        pipeline = self._client.pipeline(transaction=False)
        for lane in lanes:
            pipeline.hget(self._keys[lane].position, "offset")
        found = (-1 if value == SEALED.encode() else int(value or 0) for value in pipeline.execute())
        return dict(zip(lanes, found, strict=True))

    def read(self, wanted: Mapping[LaneId, Wanted]) -> Mapping[LaneId, Known]:
        """Versions and rows of all lanes in one round trip."""
        pipeline = self._client.pipeline(transaction=False)
        for lane, (aggregates, rows) in wanted.items():
            keys = self._keys[lane]
            if aggregates:
                pipeline.hmget(keys.versions, list(aggregates))
            if rows:
                pipeline.hmget(keys.rows, list(rows))
        answers = iter(pipeline.execute())
        return {
            lane: Known(
                {name: int(value) for name, value in _found(aggregates, answers)},
                {name: orjson.loads(value) for name, value in _found(rows, answers)},
            )
            for lane, (aggregates, rows) in wanted.items()
        }

    def apply(self, writes: Sequence[Write]) -> dict[LaneId, Exception]:
        """One Lua call a lane, all in one round trip."""
        failures: dict[LaneId, Exception] = {}
        calls: dict[LaneId, list[Any]] = {}
        for write in writes:
            try:
                calls[write.lane] = self._arguments(write)
            except (TypeError, ValueError, OverflowError, KeyError) as error:
                failures[write.lane] = error
        done = self._call(calls)
        unloaded = {lane: calls[lane] for lane, answer in done.items() if isinstance(answer, NoScriptError)}
        if unloaded:  # the first calls, or Redis was started anew
            self._client.script_load(_APPLY)
            done |= self._call(unloaded)
        for lane, answer in done.items():
            if isinstance(answer, ResponseError) and _is_its_own(answer):
                failures[lane] = answer
            elif isinstance(answer, Exception):
                raise answer
            elif not answer:
                failures[lane] = Refused()
        return failures

    def parked(self, lane: LaneId, key: str | None = None) -> list[Parked]:
        """The parked events of one aggregate or of all, in order of version, then offset."""
        values: Any = self._client.hvals(self._keys[lane].parked)
        found = [_load(value) for value in values]
        return sorted(
            (one for one in found if key in (None, one.key)), key=lambda one: (one.version, one.offset)
        )

    def ask(self, requests: Sequence[Request]) -> None:
        """Leaves requests beside the generations."""
        for request in requests:
            key = request_key(self._views[request.lane.consumer].name, request.lane.partition)
            said = {"action": request.action, "key": request.key, "reason": request.reason, "offset": request.offset}
            self._client.hset(key, request.id, orjson.dumps(said))

    def requests(self, lanes: Sequence[LaneId]) -> list[Request]:
        """What operators want, the oldest first."""
        pipeline = self._client.pipeline(transaction=False)
        for lane in lanes:
            pipeline.hgetall(request_key(self._views[lane.consumer].name, lane.partition))
        found = [
            Request(request_id.decode(), lane, **orjson.loads(text))
            for lane, requests in zip(lanes, pipeline.execute(), strict=True)
            for request_id, text in requests.items()
        ]
        return sorted(found, key=lambda request: request.id)

    def drop(self, lane: LaneId, offset: int, reason: str) -> None:
        """Keeps the fact beside the generations."""
        fact = orjson.dumps({"reason": reason, "at": datetime.now(UTC)})
        self._client.hsetnx(self._dropped_key(lane), str(offset), fact)

    def dropped(self, lane: LaneId) -> dict[int, Dropped]:
        """What operators have dropped, by offset."""
        facts: Any = self._client.hgetall(self._dropped_key(lane))
        found = {int(offset): orjson.loads(fact) for offset, fact in facts.items()}
        return {
            offset: Dropped(fact["reason"], datetime.fromisoformat(fact["at"])) for offset, fact in found.items()
        }

    def pass_by(self, lane: LaneId) -> None:
        """What is parked counts no longer."""
        passed = [one._replace(cause="passed") for one in self.parked(lane) if one.cause in COUNTED]
        if passed:
            self._client.hset(self._keys[lane].parked, mapping={one.offset: _dump(one) for one in passed})

    def finish(self, request: Request) -> None:
        """Forgets the request."""
        view = self._views[request.lane.consumer].name
        self._client.hdel(request_key(view, request.lane.partition), request.id)

    def _dropped_key(self, lane: LaneId) -> str:
        return dropped_key(self._views[lane.consumer].name, lane.partition)

    def _call(self, calls: Mapping[LaneId, Sequence[Any]]) -> dict[LaneId, Any]:
        if not calls:
            return {}
        pipeline = self._client.pipeline(transaction=False)
        for lane, arguments in calls.items():
            pipeline.evalsha(_APPLY_SHA, len(Keys._fields), *self._keys[lane], *arguments)
        return dict(zip(calls, pipeline.execute(raise_on_error=False), strict=True))

    def _arguments(self, write: Write) -> list[Any]:
        arguments: list[Any] = [write.expected, write.position, write.leader_epoch]
        kept: list[Any] = []
        gone: list[str] = []
        ranks: list[Any] = []
        rank = self._views[write.lane.consumer].rank
        for key, row in write.rows.items():
            if row is None:
                gone.append(key)
                continue
            kept += (key, orjson.dumps(row))
            if rank:
                ranks += (row[rank], key)
        parked = _flat((one.offset, _dump(one)) for one in write.parked)
        for group in (kept, gone, ranks, gone if rank else (), _flat(write.versions.items()), parked, write.unparked):
            arguments.append(len(group))
            arguments += group
        return arguments

    def _live_generation(self, view: View) -> int:
        """The generation that readers see; the first one, built by this code, when there is none."""
        live: Any = self._client.get(live_key(view.name))
        if live is None:
            self._client.hsetnx(fold_key(view.name), "1", fold_of(view))
            self._client.setnx(live_key(view.name), 1)
            live = self._client.get(live_key(view.name))
        return int(live)


def _progress(position: Sequence[bytes | None], parked: Iterable[bytes], dropped: Iterable[bytes]) -> Progress:
    offset, epoch = position
    events = [_load(one) for one in parked]
    return Progress(
        int(offset or 0) if offset != SEALED.encode() else 0,
        -1 if epoch is None else int(epoch),
        Counter(one.key for one in events),
        sum(one.cause in COUNTED for one in events),
        frozenset(one.key for one in events if one.cause != "waits" and one.code != fingerprint()),
        frozenset(map(int, dropped)),
    )


def _is_its_own(error: ResponseError) -> bool:
    """Whether the error is about a write, and not about a Redis that is full, read-only or without its disk."""
    return type(error) is ResponseError and not _ABOUT_REDIS.search(str(error))


def _found(names: Iterable[str], answers: Any) -> list[tuple[str, bytes]]:
    """The names that were asked for and have a value; nothing was asked when there are no names."""
    if not names:
        return []
    return [(name, value) for name, value in zip(names, next(answers), strict=True) if value is not None]


def _dump(parked: Parked) -> bytes:
    return orjson.dumps(parked._asdict())


def _load(parked: bytes) -> Parked:
    fields = orjson.loads(parked)
    return Parked(**{**fields, "since": datetime.fromisoformat(fields["since"])})


class RedisGenerations:
    """The successor of a view's live generation, from an empty start to the switch of readers."""

    def __init__(self, client: "Redis", view: View, partitions: int) -> None:
        self._client = client
        self._view = view
        self._partitions = range(partitions)
        self.live = live_generation(client, view.name)
        self.next = self.live + 1
        self._switched = False

    def begin(self) -> dict[int, int]:
        """Clears what failed attempts left, and keeps a copy of the live rows to compare with.

        Gives the positions at which the copy was made.
        """
        self.sweep()
        self._client.hset(fold_key(self._view.name), str(self.next), fold_of(self._view))
        return {partition: self._copy_partition(partition) for partition in self._partitions}

    def store(self) -> RedisStore:
        """The store of the next generation."""
        return RedisStore(self._client, [self._view], self.next)

    def identical(self) -> bool:
        """Whether the next generation has the same bytes as the copy; only true at the positions of the copy."""
        return all(
            self._content(self._keys(self.next, partition)) == self._content(self._copy_keys(partition))
            for partition in self._partitions
        )

    def changed_columns(self) -> list[str]:
        """None: rows have no columns, and are compared whole."""
        return []

    def live_positions(self) -> dict[int, int]:
        """Where the live generation is now."""
        pipeline = self._client.pipeline(transaction=False)
        for partition in self._partitions:
            pipeline.hget(self._keys(self.live, partition).position, "offset")
        return {p: int(value or 0) for p, value in zip(self._partitions, pipeline.execute(), strict=True)}

    def switch(self) -> dict[int, int]:
        """Shows the next generation to readers and seals the live one, in one step.

        Gives the positions that the sealed one had reached. Its writers are refused from now on, and move over.
        """
        pipeline = self._client.pipeline(transaction=True)
        for partition in self._partitions:
            position = self._keys(self.live, partition).position
            pipeline.hget(position, "offset")
            pipeline.hset(position, "offset", SEALED)
        pipeline.set(live_key(self._view.name), self.next)
        self._switched = True
        positions = pipeline.execute()[: 2 * len(self._partitions) : 2]
        return {p: int(value or 0) for p, value in zip(self._partitions, positions, strict=True)}

    def finish(self) -> None:
        """Deletes the generation that was live. Its seals stay for a day, for writers that come late."""
        self._delete(self.live)
        for partition in self._partitions:
            position = self._keys(self.live, partition).position
            self._client.hset(position, "offset", SEALED)
            self._client.expire(position, 86_400)

    def abandon(self) -> None:
        """Deletes the next generation, unless readers see it by now; the live one stays as it is."""
        if self._switched:
            return
        self._delete(self.next)

    def sweep(self) -> None:
        """Deletes what rebuilds that died have left: every generation but the live one."""
        known: Any = self._client.hkeys(fold_key(self._view.name))
        for generation in sorted({*map(int, known), self.next} - {self.live}):
            self._delete(generation)

    def _copy_partition(self, partition: int) -> int:
        live, copy = self._keys(self.live, partition), self._copy_keys(partition)
        pipeline = self._client.pipeline(transaction=True)
        pipeline.hget(live.position, "offset")
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
        self._client.hdel(fold_key(self._view.name), str(generation))

    def _keys(self, generation: int, partition: int) -> Keys:
        return keys_of(self._view.name, generation, partition)

    def _copy_keys(self, partition: int) -> Keys:
        # The same hash tag, so that the copy is made within one slot.
        return Keys(*(f"copy:{key}" for key in self._keys(self.live, partition)))


def live_generation(client: "Redis", view: str) -> int:
    """The number of the generation that readers see; 1 before the first worker has run."""
    live: Any = client.get(live_key(view))
    return int(live or 1)


def live_progress(client: "Redis", view: str, partitions: int) -> dict[int, Progress]:
    """By partition, how far the live generation of a view is, for those who only look."""
    generation = live_generation(client, view)
    pipeline = client.pipeline(transaction=False)
    for partition in range(partitions):
        keys = keys_of(view, generation, partition)
        pipeline.hmget(keys.position, "offset", "epoch")
        pipeline.hvals(keys.parked)
        pipeline.hkeys(dropped_key(view, partition))
    answers = pipeline.execute()
    return {partition: _progress(*answers[3 * partition : 3 * partition + 3]) for partition in range(partitions)}


def _flat(pairs: Iterable[tuple[Any, Any]]) -> list[Any]:
    return [item for pair in pairs for item in pair]
