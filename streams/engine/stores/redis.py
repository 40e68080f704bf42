"""Views in Redis: rows, versions, parked events and position of a partition, changed by one Lua call.

Keys of generation 3 of the view `order`, partition 0 (the braces put them in one slot of a Redis Cluster):

    position:{order.3:0}    hash: `offset`, the next one, or SEALED once another generation has taken over; `epoch`
    view:{order.3:0}        hash: row key to row, as JSON ready to send
    version:{order.3:0}     hash: aggregate id to the version that was applied last
    parked:{order.3:0}      hash: offset to a parked event, as JSON
    index:{order.3:0}       sorted set: the entries of all rows in all of the view's indexes, by their bytes

And beside all generations:

    live:order              the number of the generation that readers see
    last:order              the highest number that a generation has had; none is used twice, see `new_number`
    fold:order              set: `3:<fingerprint>` for every code that has written to generation 3
    building:order          hash: each generation that a rebuild makes, or has left behind, to the one it is compared with
    dropped:order:0         hash: offset that an operator has dropped to why and when, as JSON
    request:order:0         hash: what operators want, by the request's id, as JSON
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha1
from itertools import islice
from typing import Any, NamedTuple, TypeAlias, TypeVar

import orjson
from redis import Redis
from redis.exceptions import NoScriptError, RedisError, ResponseError, WatchError

from kernel.metrics import measured
from streams.engine.consumer import View, consumer_id
from streams.engine.folds import fold_of
from streams.engine.stores import (
    COUNTED,
    Dropped,
    Known,
    LaneId,
    Overtaken,
    Parked,
    Progress,
    Refused,
    Request,
    Wanted,
    Write,
    progress_of,
)

_Item = TypeVar("_Item")

SEALED = "sealed"
#: Seconds for which a deleted generation refuses writers that come late.
SEAL_S = 86_400

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
    entries: str


def keys_of(view: str, generation: int, partition: int) -> Keys:
    """The keys as the module's docstring lays them out."""
    tag = f"{{{view}.{generation}:{partition}}}"
    return Keys(*(f"{kind}:{tag}" for kind in ("position", "view", "version", "parked", "index")))


def live_key(view: str) -> str:
    """The key that holds the number of the live generation."""
    return f"live:{view}"


def fold_key(view: str) -> str:
    """The key of the fingerprints of the code that has written to each generation."""
    return f"fold:{view}"


def building_key(view: str) -> str:
    """The key of the generations that readers have not seen yet."""
    return f"building:{view}"


def new_number(client: "Redis", name: str, above: int = 0) -> int:
    """A number for a generation of this view or table that none has had, so that a rebuild that stood still for long
    and comes back can't write into another's.
    """
    while (number := int(client.incr(f"last:{name}"))) <= above:
        pass
    return number


def folds(client: "Redis", view: str) -> dict[int, set[str]]:
    """The fingerprints of all code that has written to each generation."""
    found: dict[int, set[str]] = {}
    members: Any = client.smembers(fold_key(view))
    for member in members:
        generation, _, code = member.decode().partition(":")
        found.setdefault(int(generation), set()).add(code)
    return found


def live_generation(client: "Redis", view: str) -> int:
    """The number of the generation that readers see; 1 before the first worker has run."""
    return _find_live(client, view) or 1


def _find_live(client: "Redis", view: str) -> int | None:
    """Should Redis have lost the number, but not the rows: the newest generation that readers have seen."""
    live: Any = client.get(live_key(view))
    if live is not None:
        return int(live)
    building: Any = client.hkeys(building_key(view))
    return max(folds(client, view).keys() - {*map(int, building)}, default=None)


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


#: A command of Redis, with its arguments.
Command: TypeAlias = tuple[str | int, ...]


def ask(client: "Redis", commands: Sequence[Command]) -> list[Any]:
    """The answers to all of these, in one round trip. It costs a fifth of a read less than the client's pipeline.

    Tries again as the client does. Raises what the client does, ResponseError for the first that Redis refuses.
    """
    connection: Any = client.connection_pool.get_connection()

    def once() -> list[Any]:
        connection.send_packed_command(connection.pack_commands(commands))
        return [connection.read_response() for _ in commands]

    try:
        answers: list[Any] = connection.retry.call_with_retry(once, lambda _: connection.disconnect())
    except BaseException:
        connection.disconnect()  # it may hold answers that nobody has read
        raise
    finally:
        client.connection_pool.release(connection)
    return answers


class RedisStore:
    """The store of all views; of their live generations unless told which."""

    unavailable: tuple[type[Exception], ...] = (RedisError, OSError)

    def __init__(self, client: "Redis", views: Iterable[View], generation: int | None = None) -> None:
        self._client = client
        self._views = {consumer_id(view): view for view in views}
        self._fixed = generation
        self._generations: dict[LaneId, int] = {}
        self._keys: dict[LaneId, Keys] = {}

    def progress(self, lanes: Sequence[LaneId]) -> dict[LaneId, Progress]:
        """Looks up the live generations anew: a sealed one is left here for its successor."""
        wanted = {lane.consumer: self._views[lane.consumer] for lane in lanes}
        live = self._live(wanted)
        pipeline = self._client.pipeline(transaction=False)
        for lane in lanes:
            name = self._views[lane.consumer].name
            generation = self._generations[lane] = live[lane.consumer]
            keys = self._keys[lane] = keys_of(name, generation, lane.partition)
            pipeline.hmget(keys.position, "offset", "epoch")
            pipeline.hvals(keys.parked)
            pipeline.hkeys(dropped_key(name, lane.partition))
        for consumer, each in wanted.items():
            pipeline.sadd(fold_key(each.name), f"{live[consumer]}:{fold_of(each)}")
        answers = pipeline.execute()
        return {
            lane: _progress(*answers[3 * number : 3 * number + 3])
            for number, lane in enumerate(lanes)
        }

    def positions(self, lanes: Sequence[LaneId]) -> dict[LaneId, int]:
        """Of the generations that the lanes write to. Of one that readers left it is -1: it is nobody's any more."""
        live = self._live({lane.consumer for lane in lanes})
        pipeline = self._client.pipeline(transaction=False)
        for lane in lanes:
            pipeline.hget(self._keys[lane].position, "offset")
        return {
            lane: int(offset or 0) if self._generations[lane] == live[lane.consumer] and offset != SEALED.encode() else -1
            for lane, offset in zip(lanes, pipeline.execute(), strict=True)
        }

    @measured("redis", "read")
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
        known = {}
        for lane, (aggregates, rows) in wanted.items():
            versions, found = _found(aggregates, answers), _found(rows, answers)
            known[lane] = Known(
                {name: int(value) for name, value in versions},
                {name: orjson.loads(value) for name, value in found},
                sum(len(value) for _, value in found),
            )
        return known

    @measured("redis", "apply")
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
        for key, row in write.rows.items():
            if row is None:
                gone.append(key)
                continue
            kept += (key, orjson.dumps(row))
        write.rows_bytes = sum(map(len, kept[1::2]))
        found = _flat((0, entry) for entry, is_there in write.entries.items() if is_there)
        lost = [entry for entry, is_there in write.entries.items() if not is_there]
        parked = _flat((one.offset, _dump(one)) for one in write.parked)
        for group in (kept, gone, found, lost, _flat(write.versions.items()), parked, write.unparked):
            arguments.append(len(group))
            arguments += group
        return arguments

    def _live(self, consumers: Collection[str]) -> dict[str, int]:
        """The generations that readers see, by consumer."""
        if self._fixed:
            return dict.fromkeys(consumers, self._fixed)
        pipeline = self._client.pipeline(transaction=False)
        for name in consumers:
            pipeline.get(live_key(self._views[name].name))
        found = zip(consumers, pipeline.execute(), strict=True)
        return {name: int(live) if live else self._restored(self._views[name]) for name, live in found}

    def _restored(self, view: View) -> int:
        """Should there be none, or Redis have lost all, it is a new one, which workers fill."""
        live: Any = None
        while live is None:
            generation = _find_live(self._client, view.name) or new_number(self._client, view.name)
            self._client.setnx(live_key(view.name), generation)
            live = self._client.get(live_key(view.name))
        return int(live)


def _progress(
    position: Sequence[bytes | None], parked: Iterable[bytes], dropped: Iterable[bytes]
) -> Progress:
    offset, epoch = position
    return progress_of(
        int(offset or 0) if offset != SEALED.encode() else 0,
        -1 if epoch is None else int(epoch),
        [_load(one) for one in parked],
        map(int, dropped),
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
    """The successor of a view's live generation, from an empty start to the switch of readers.

    Whoever uses it holds the lock of the view's rebuild. Should it have lost that without knowing, what it does to
    generations that are no longer its own is refused, and it ends with Overtaken.
    """

    def __init__(self, client: "Redis", view: View, partitions: int) -> None:
        self._client = client
        self._view = view
        self._partitions = range(partitions)
        self.live = live_generation(client, view.name)
        self.next = 0
        self._switched = False

    def begin(self, number: Callable[[int], int]) -> dict[int, int]:
        """Clears what rebuilds that died have left, and keeps a copy of the live rows to compare with.

        `number` gives one above the given that none has had. Gives the positions at which the copy was made.
        """
        # Makes the first one, should no worker have run yet.
        RedisStore(self._client, [self._view]).progress([LaneId(consumer_id(self._view), 0)])
        self.live = live_generation(self._client, self._view.name)
        self.sweep()
        self.next = number(self.live)
        self._client.hset(building_key(self._view.name), str(self.next), self.live)
        # A Redis that was emptied has forgotten which numbers there were.
        self._unlink(self.next)
        return {partition: self._copy_partition(partition) for partition in self._partitions}

    def store(self) -> RedisStore:
        """The store of the next generation."""
        return RedisStore(self._client, [self._view], self.next)

    def differences(self) -> int:
        """Rows, index entries, versions and parked events in which the next generation is not as the copy, byte for byte.

        Means something at the positions of the copy only.
        """
        return sum(map(self._differences, self._partitions))

    def changed_columns(self) -> list[str]:
        """None: rows have no columns, and are compared whole."""
        return []

    def live_positions(self) -> dict[int, int]:
        """Where the live generation is now."""
        pipeline = self._client.pipeline(transaction=False)
        for partition in self._partitions:
            pipeline.hget(self._keys(self.live, partition).position, "offset")
        return {p: _unsealed(value) for p, value in zip(self._partitions, pipeline.execute(), strict=True)}

    def live_progress(self) -> dict[int, Progress]:
        """As `live_positions`, with what is parked."""
        return live_progress(self._client, self._view.name, len(self._partitions))

    def switch(self) -> dict[int, int]:
        """Shows the next generation to readers and seals the live one, in one step.

        Gives the positions that the sealed one had reached. Its writers are refused from now on, and move over.
        """
        self._unlink_copy(self.next, self.live)
        live, building = live_key(self._view.name), building_key(self._view.name)
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.watch(live, building)  # type: ignore[no-untyped-call]
            if _number(pipeline.get(live)) != self.live or not pipeline.hexists(building, str(self.next)):
                raise Overtaken(f"generation {self.live} of {self._view.name} is live no more")
            pipeline.multi()
            for partition in self._partitions:
                position = self._keys(self.live, partition).position
                pipeline.hget(position, "offset")
                pipeline.hset(position, "offset", SEALED)
            pipeline.set(live, self.next)
            pipeline.hdel(building, str(self.next))
            # Should the answer be lost, what is live is for Redis to say, and for the next sweep to heed.
            self._switched = True
            try:
                positions = pipeline.execute()[: 2 * len(self._partitions) : 2]
            except WatchError as error:
                self._switched = False
                raise Overtaken(f"somebody else rebuilds {self._view.name}") from error
        return {p: _unsealed(value) for p, value in zip(self._partitions, positions, strict=True)}

    def finish(self) -> None:
        """Deletes the generation that was live."""
        self._delete(self.live)

    def abandon(self) -> None:
        """Deletes the next generation, unless readers may see it by now; the live one stays as it is."""
        if self.next and not self._switched:
            self._unlink_copy(self.next, self.live)
            self._delete(self.next)

    def sweep(self) -> None:
        """Deletes what rebuilds that died have left: every generation but the live one."""
        name = self._view.name
        building: Any = self._client.hgetall(building_key(name))
        for generation, compared_with in building.items():
            self._unlink_copy(int(generation), int(compared_with))
        for generation in sorted({*map(int, building)} | folds(self._client, name).keys()):
            if generation != live_generation(self._client, name):
                self._delete(generation)

    def _copy_partition(self, partition: int) -> int:
        pipeline = self._client.pipeline(transaction=True)
        live, copy = self._keys(self.live, partition), self._copy_keys(self.next, self.live, partition)
        pipeline.hget(live.position, "offset")
        for source, target in zip(live, copy, strict=True):
            pipeline.copy(source, target, replace=True)
        return _unsealed(pipeline.execute()[0])

    def _differences(self, partition: int) -> int:
        made, copy = self._keys(self.next, partition), self._copy_keys(self.next, self.live, partition)
        parked = {*self._client.hkeys(made.parked)} ^ {*self._client.hkeys(copy.parked)}
        return (
            self._differing(made.rows, copy.rows)
            + self._differing(made.versions, copy.versions)
            + self._differing_entries(made.entries, copy.entries)
            + len(parked)
        )

    def _differing(self, made: str, copy: str) -> int:
        """Fields that two hashes do not have alike."""
        changed: set[bytes] = set()
        new: set[bytes] = set()  # sets, because a scan may give a field twice
        for fields in _batched(self._client.hscan_iter(made, count=2_000), 2_000):
            others: Any = self._client.hmget(copy, [field for field, _ in fields])
            for (field, value), other in zip(fields, others, strict=True):
                if other is None:
                    new.add(field)
                elif other != value:
                    changed.add(field)
        gone = self._client.hlen(copy) - (self._client.hlen(made) - len(new))
        return len(changed) + len(new) + gone

    def _differing_entries(self, made: str, copy: str) -> int:
        """Members that only one of two sorted sets has."""
        new: set[bytes] = set()
        for members in _batched(self._client.zscan_iter(made, count=2_000), 2_000):
            names = [member for member, _ in members]
            scores: Any = self._client.zmscore(copy, names)
            new.update(name for name, score in zip(names, scores, strict=True) if score is None)
        gone = self._client.zcard(copy) - (self._client.zcard(made) - len(new))
        return len(new) + gone

    def _delete(self, generation: int) -> None:
        """Seals stay for a day, for writers that come late."""
        for partition in self._partitions:
            keys = self._keys(generation, partition)
            pipeline = self._client.pipeline(transaction=True)
            pipeline.unlink(*keys)
            pipeline.hset(keys.position, "offset", SEALED)
            pipeline.expire(keys.position, SEAL_S)
            pipeline.execute()
        folds_of_it = [
            f"{generation}:{code}" for code in folds(self._client, self._view.name).get(generation, ())
        ]
        if folds_of_it:
            self._client.srem(fold_key(self._view.name), *folds_of_it)
        self._client.hdel(building_key(self._view.name), str(generation))

    def _unlink(self, generation: int) -> None:
        for partition in self._partitions:
            self._client.unlink(*self._keys(generation, partition))

    def _unlink_copy(self, generation: int, compared_with: int) -> None:
        for partition in self._partitions:
            self._client.unlink(*self._copy_keys(generation, compared_with, partition))

    def _keys(self, generation: int, partition: int) -> Keys:
        return keys_of(self._view.name, generation, partition)

    def _copy_keys(self, generation: int, live: int, partition: int) -> Keys:
        # The live generation's hash tag, so that the copy is made within one slot.
        return Keys(*(f"copy.{generation}:{key}" for key in self._keys(live, partition)))


def _number(value: Any) -> int:
    return int(value or 0)


def _unsealed(offset: bytes | None) -> int:
    if offset == SEALED.encode():
        raise Overtaken("the generation that was live has been replaced by somebody else's")
    return int(offset or 0)


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
    return {
        partition: _progress(*answers[3 * partition : 3 * partition + 3])
        for partition in range(partitions)
    }


def _flat(pairs: Iterable[tuple[Any, Any]]) -> list[Any]:
    return [item for pair in pairs for item in pair]


def _batched(items: Iterable[_Item], count: int) -> Iterator[list[_Item]]:
    left = iter(items)
    while found := list(islice(left, count)):
        yield found
