"""`marea rebuild`: a view or table made anew from its topic, beside the live one, compared with it, then shown.

1. Keep a copy of the live generation, with the positions at which it was made.
2. Replay the topic up to just those positions into the next generation, in several processes.
3. Compare the two; unless they are the same, byte for byte, stop: nothing has changed for anybody.
4. Catch up with the live generation, and switch readers and writers over in one step.

It may die, or stand still and come back, at any moment: what it leaves has a number that nobody else gets, and is swept
away by the next rebuild or by `python -m ops keep`.
"""

import multiprocessing
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.queues import Queue
from queue import Empty
from time import monotonic

from redis import Redis
from redis.lock import Lock

from kernel import settings
from ops.generations import LOCK_S, Generations, Rebuildable, changed, generations_of, locked, rebuildable
from schemas.registry import connect as connect_registry
from streams.engine.consumer import View
from streams.engine.garbage import collect_rarely
from streams.engine.lane import MOST_FAILED
from streams.engine.replay import Replay
from streams.engine.stores import Overtaken, Store
from streams.engine.stores.clickhouse import ClickHouseStore
from streams.engine.stores.redis import RedisStore, new_number
from streams.engine.stores.redis import connect as connect_redis

#: Below so many events one process replays, this one: others would take longer to start than it does.
FEW = 20_000
#: Events that the next generation may be behind when readers are switched; the last ones follow in milliseconds.
CLOSE = 100
#: Seconds that catching up may go on without getting closer than it was: workers are faster than we.
PATIENCE_S = 120.0


class RebuildFailed(Exception):
    """The rebuild stopped; the live generation is as it was."""


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild did: events replayed, how fast, and in how many rows the result is not as the live generation was.

    `changed_columns` are those that only one of the two has, or that have changed their type: they are not compared.
    `behind` is how many events the new generation lacked when readers were switched to it, for `behind_s` seconds;
    both are 0 when they were not.
    """

    events: int
    events_per_s: float
    identical: bool
    differing: int
    changed_columns: tuple[str, ...] = ()
    behind: int = 0
    behind_s: float = 0.0

    def __str__(self) -> str:
        parts = [f"{self.events:,} events, {self.events_per_s:,.0f}/s", self.difference]
        if self.changed_columns:
            parts.append(f"columns that are new, gone or of another type: {', '.join(self.changed_columns)}")
        if self.behind:
            parts.append(f"readers were {self.behind:,} events behind for {1_000 * self.behind_s:,.0f} ms")
        return "; ".join(parts)

    @property
    def difference(self) -> str:
        """In words, what was found by comparing."""
        return "identical" if self.identical else f"{self.differing:,} rows differ"


#: Hears the name, events done and events in all.
Progress = Callable[[str, int, int], None]


def chosen(name: str, *, only_changed: bool) -> list[str]:
    """The names that are meant: one or `all`, and of these, if so wanted, just those that other code has written to.

    Raises RebuildFailed when there is no such view or table.
    """
    if name != "all" and name not in rebuildable():
        there = ", ".join(rebuildable())
        raise RebuildFailed(f"there is no view or table {name!r}: there are {there}, or all of them with `all`")
    names = list(rebuildable()) if name == "all" else [name]
    if not only_changed:
        return names
    meant = changed()
    return [each for each in names if each in meant]


def rebuild(
    name: str,
    workers: int = 2,
    on_progress: Progress = lambda name, done, total: None,
    *,
    accept_differences: bool = False,
) -> Rebuilt:
    """Rebuilds one view or table; readers are switched only when both are the same, unless differences are accepted.

    They are to be accepted when the fold has changed, or when the live generation is known to be damaged. Raises
    RebuildFailed, or what a store or the broker raised; then nothing has changed for readers.
    """
    return rebuild_consumer(
        rebuildable()[name], workers, partial(on_progress, name), accept_differences=accept_differences
    )


def rebuild_consumer(
    consumer: Rebuildable,
    workers: int = 2,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    accept_differences: bool = False,
) -> Rebuilt:
    """As `rebuild`, of a consumer that no manifest need name."""
    client = connect_redis(settings.redis_url())
    with locked(client, consumer.name) as lock:
        if lock is None:
            raise RebuildFailed(f"{consumer.name} is being rebuilt by somebody else")
        try:
            noting = partial(_note_progress, client, consumer.name, on_progress)
            return _rebuild(consumer, client, lock, workers, noting, accept_differences=accept_differences)
        except Overtaken as error:
            raise RebuildFailed(str(error)) from error


def progress_key(name: str) -> str:
    """The key in Redis of how far the rebuild of a view or table is, from 0 to 1; gone soon after the rebuild."""
    return f"progress:{name}"


def _note_progress(client: "Redis", name: str, on_progress: Callable[[int, int], None], done: int, total: int) -> None:
    client.set(progress_key(name), done / max(total, 1), ex=int(LOCK_S))
    on_progress(done, total)


def _rebuild(
    consumer: Rebuildable,
    client: "Redis",
    lock: Lock,
    workers: int,
    on_progress: Callable[[int, int], None],
    *,
    accept_differences: bool,
) -> Rebuilt:
    generations = generations_of(consumer, client)
    try:
        ends = generations.begin(partial(new_number, client, consumer.name))
        # What live has parked will be parked again; beyond that, a fold that fails is not worth having.
        parked = sum(sum(at.parked.values()) for at in generations.live_progress().values())
        most_failed = parked + MOST_FAILED
        started = monotonic()
        _replay(consumer, generations.next, ends, (workers, most_failed), on_progress)
        took_s = monotonic() - started
        codec = connect_registry(settings.registry_url())
        with Replay(consumer, generations.store(), codec, settings.kafka(), most_failed) as replay:
            replay.to(ends)
            replay.match(generations.live_progress())
            differing, columns = generations.differences(), tuple(generations.changed_columns())
            is_accepted = differing == 0 or accept_differences
            behind = _go_live(replay, generations, lock) if is_accepted else (0, 0.0)
    except BaseException:
        generations.abandon()
        raise
    if is_accepted:
        generations.finish()
    else:
        generations.abandon()
    events = sum(ends.values())
    return Rebuilt(events, events / took_s, differing == 0, differing, columns, *behind)


def _go_live(replay: Replay, generations: Generations, lock: Lock) -> tuple[int, float]:
    """Follows the live generation until it is no more than CLOSE events ahead, then switches and follows to its end.

    Gives how many events readers were behind at the switch, and for how many seconds.
    """
    reached = _catch_up(replay, generations)
    replay.match(generations.live_progress())
    if not lock.owned():
        raise RebuildFailed(f"the rebuild stood still for more than {LOCK_S:.0f} s: start it anew")
    ends = generations.switch()
    switched_at = monotonic()
    # A partition that is lost here has been taken over by its worker, which goes on from where we were.
    replay.to(ends)
    return sum(ends.values()) - sum(reached.values()), monotonic() - switched_at


def _catch_up(replay: Replay, generations: Generations) -> Mapping[int, int]:
    """Replays until live is close; gives up when it gets no closer, for then it never may."""
    closest, closest_at = None, monotonic()
    while True:
        reached = generations.live_positions()
        replay.to(reached)
        behind = sum(generations.live_positions().values()) - sum(reached.values())
        if behind <= CLOSE:
            return reached
        if closest is None or behind < closest:
            closest, closest_at = behind, monotonic()
        elif monotonic() - closest_at > PATIENCE_S:
            raise RebuildFailed(
                f"workers are faster than the rebuild: it is {behind:,} events behind, and for {PATIENCE_S:.0f} s has"
                f" not come closer than {closest:,}. Try again when there is less load"
            )


def _replay(
    consumer: Rebuildable,
    generation: int,
    ends: Mapping[int, int],
    shape: tuple[int, int],
    on_progress: Callable[[int, int], None],
) -> None:
    """Shares the partitions out over processes, unless there is little to do. Raises RebuildFailed when one of them fails."""
    workers, most_failed = shape
    total = sum(ends.values())
    if total < FEW:
        _replay_share(consumer, generation, ends, most_failed)
        on_progress(total, total)
        return
    context = multiprocessing.get_context("spawn")
    counts: Queue[int | str] = context.Queue()
    shares = [{p: end for p, end in ends.items() if p % workers == worker} for worker in range(workers)]
    processes = [
        context.Process(target=_replay_and_tell, args=(consumer, generation, share, most_failed, counts), daemon=True)
        for share in shares
        if any(share.values())
    ]
    for process in processes:
        process.start()
    try:
        _follow(processes, counts, total, on_progress)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _follow(
    processes: list[multiprocessing.context.SpawnProcess],
    counts: "Queue[int | str]",
    total: int,
    on_progress: Callable[[int, int], None],
) -> None:
    """Until all is done. A process says how many events it has done, or in the end why it can't do more."""
    done = 0
    while done < total:
        try:
            said = counts.get(timeout=0.2)
        except Empty:
            ended = [process.exitcode for process in processes if process.exitcode is not None]
            if len(ended) == len(processes) or any(ended):
                raise RebuildFailed(f"replaying processes have ended early, with the exit codes {ended}") from None
        else:
            if isinstance(said, str):
                raise RebuildFailed(said)
            done += said
        on_progress(done, total)
    for process in processes:
        process.join()


def _replay_and_tell(
    consumer: Rebuildable, generation: int, ends: Mapping[int, int], most_failed: int, counts: "Queue[int | str]"
) -> None:
    collect_rarely()
    try:
        _replay_share(consumer, generation, ends, most_failed, counts.put)
    except RebuildFailed as error:
        traceback.print_exc()
        counts.put(str(error))


def _replay_share(
    consumer: Rebuildable,
    generation: int,
    ends: Mapping[int, int],
    most_failed: int,
    on_records: Callable[[int], None] = lambda count: None,
) -> None:
    try:
        codec = connect_registry(settings.registry_url())
        with Replay(consumer, _store(consumer, generation), codec, settings.kafka(), most_failed) as replay:
            lost = replay.to(ends, on_records)
    except Exception as error:
        raise RebuildFailed(f"{consumer.name} could not be replayed: {type(error).__name__}: {error}") from error
    if lost:
        raise RebuildFailed(f"somebody else has taken generation {generation} of {consumer.name} away: partitions {lost}")


def _store(consumer: Rebuildable, generation: int) -> Store:
    if isinstance(consumer, View):
        return RedisStore(connect_redis(settings.redis_url()), [consumer], generation)
    return ClickHouseStore(settings.clickhouse_url(), [consumer], generation)
