"""`marea rebuild`: a view or table made anew from its topic, beside the live one, compared with it, then shown.

1. Keep a copy of the live generation, with the positions at which it was made.
2. Replay the topic up to just those positions into the next generation, in several processes.
3. Compare the two; unless they are the same, byte for byte, stop: nothing has changed for anybody.
4. Catch up with the live generation, and switch readers and writers over in one step.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.queues import Queue
from queue import Empty
from threading import Event, Thread
from time import monotonic

from redis import Redis
from redis.exceptions import LockError, RedisError

from api.services import tables, views
from kernel import settings
from ops.positions import parked
from schemas.registry import connect as connect_registry
from streams.engine.consumer import Table, View, consumer_id
from streams.engine.garbage import collect_rarely
from streams.engine.lane import MOST_FAILED
from streams.engine.replay import Replay
from streams.engine.stores import Store
from streams.engine.stores.clickhouse import ClickHouseGenerations, ClickHouseStore
from streams.engine.stores.redis import RedisGenerations, RedisStore
from streams.engine.stores.redis import connect as connect_redis

#: Events that the next generation may be behind when readers are switched; the last ones follow in milliseconds.
CLOSE = 100
#: Seconds after which a rebuild that died no longer keeps others out. One that lives says so three times as often.
LOCK_S = 30.0


class RebuildFailed(Exception):
    """The rebuild stopped; the live generation is as it was."""


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild did: events replayed, how fast, and whether the result was the same as the live generation.

    `changed_columns` are those that only one of the two has: they are not compared.
    """

    events: int
    events_per_s: float
    identical: bool
    changed_columns: tuple[str, ...] = ()


Rebuildable = View | Table
Generations = RedisGenerations | ClickHouseGenerations
#: Hears the name, events done and events in all.
Progress = Callable[[str, int, int], None]


def rebuildable() -> Mapping[str, Rebuildable]:
    """Every view and table by name."""
    return {**views(), **tables()}


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
    client = connect_redis(settings.redis_url())
    with _locked(client, name):
        hear = partial(on_progress, name)
        return _rebuild(rebuildable()[name], client, workers, hear, accept_differences=accept_differences)


@contextmanager
def _locked(client: "Redis", name: str) -> Iterator[None]:
    """Keeps others out for as long as this process lives. Raises RebuildFailed."""
    lock = client.lock(f"rebuild:{name}", timeout=LOCK_S, blocking=False, thread_local=False)
    if not lock.acquire():
        raise RebuildFailed(f"{name} is being rebuilt by somebody else")
    ended = Event()

    def keep() -> None:
        while not ended.wait(LOCK_S / 3):
            try:
                lock.reacquire()
            except (LockError, RedisError):
                continue  # the next time may do; whoever finds it free begins with sweeping away what is ours

    keeper = Thread(target=keep, name=f"lock of rebuild {name}", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()
        if lock.owned():
            lock.release()


def _rebuild(
    consumer: Rebuildable,
    client: "Redis",
    workers: int,
    on_progress: Callable[[int, int], None],
    *,
    accept_differences: bool,
) -> Rebuilt:
    generations = _generations(consumer, client)
    # What live has parked will be parked again; beyond that, a fold that fails is not worth having.
    most_failed = parked().get(consumer_id(consumer), 0) + MOST_FAILED
    try:
        ends = generations.begin()
        started = monotonic()
        _replay_in_processes(consumer, generations.next, ends, (workers, most_failed), on_progress)
        took_s = monotonic() - started
        identical = generations.identical()
        changed = generations.changed_columns()
        is_accepted = identical or accept_differences
        if is_accepted:
            _go_live(consumer, generations, most_failed)
    except BaseException:
        generations.abandon()
        raise
    if is_accepted:
        generations.finish()
    else:
        generations.abandon()
    events = sum(ends.values())
    return Rebuilt(events, events / took_s, identical, tuple(changed))


def _go_live(consumer: Rebuildable, generations: Generations, most_failed: int) -> None:
    """Follows the live generation until it is no more than CLOSE events ahead, then switches and follows to its end."""
    codec = connect_registry(settings.registry_url())
    with Replay(consumer, generations.store(), codec, settings.kafka(), most_failed) as replay:
        behind = CLOSE + 1
        while behind > CLOSE:
            ends = generations.live_positions()
            replay.to(ends)
            behind = sum(generations.live_positions().values()) - sum(ends.values())
        # A partition that is lost here has been taken over by its worker, which goes on from where we were.
        replay.to(generations.switch())


def _generations(consumer: Rebuildable, client: "Redis") -> Generations:
    if isinstance(consumer, View):
        return RedisGenerations(client, consumer, settings.partitions())
    return ClickHouseGenerations(settings.clickhouse_url(), consumer, settings.partitions())


def _replay_in_processes(
    consumer: Rebuildable,
    generation: int,
    ends: Mapping[int, int],
    shape: tuple[int, int],
    on_progress: Callable[[int, int], None],
) -> None:
    """Shares the partitions out over processes. Raises RebuildFailed when one of them fails."""
    workers, most_failed = shape
    context = multiprocessing.get_context("spawn")
    counts: Queue[int] = context.Queue()
    shares = [{p: end for p, end in ends.items() if p % workers == worker} for worker in range(workers)]
    processes = [
        context.Process(target=_replay_share, args=(consumer.name, generation, share, most_failed, counts), daemon=True)
        for share in shares
        if any(share.values())
    ]
    for process in processes:
        process.start()
    try:
        _follow(processes, counts, sum(ends.values()), on_progress)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _follow(
    processes: list[multiprocessing.context.SpawnProcess],
    counts: "Queue[int]",
    total: int,
    on_progress: Callable[[int, int], None],
) -> None:
    done = 0
    while done < total:
        try:
            done += counts.get(timeout=0.2)
        except Empty:
            failed = [process.exitcode for process in processes if process.exitcode]
            if failed:
                raise RebuildFailed(f"a replaying process ended with exit code {failed[0]}: see above") from None
        on_progress(done, total)
    for process in processes:
        process.join()


def _replay_share(
    name: str, generation: int, ends: Mapping[int, int], most_failed: int, counts: "Queue[int]"
) -> None:
    collect_rarely()
    consumer = rebuildable()[name]
    codec = connect_registry(settings.registry_url())
    with Replay(consumer, _store(consumer, generation), codec, settings.kafka(), most_failed) as replay:
        lost = replay.to(ends, counts.put)
    if lost:
        raise RebuildFailed(f"somebody else writes to generation {generation} of {name}: partitions {lost}")


def _store(consumer: Rebuildable, generation: int) -> Store:
    if isinstance(consumer, View):
        return RedisStore(connect_redis(settings.redis_url()), [consumer], generation)
    return ClickHouseStore(settings.clickhouse_url(), [consumer], generation)
