"""`marea rebuild`: a view or table made anew from its topic, beside the live one, compared with it, then shown.

1. Keep a copy of the live generation, with the positions at which it was made.
2. Replay the topic up to just those positions into the next generation, in several processes.
3. Compare the two; unless they are the same, byte for byte, stop: nothing has changed for anybody.
4. Catch up with the live generation, and switch readers and writers over in one step.
"""

import multiprocessing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.queues import Queue
from queue import Empty
from time import monotonic

from redis import Redis

from api.services import tables, views
from kernel import settings
from schemas.registry import connect as connect_registry
from streams.engine.consumer import Table, View
from streams.engine.replay import replay
from streams.engine.runtime import collect_rarely
from streams.engine.stores import Store
from streams.engine.stores.clickhouse import ClickHouseGenerations, ClickHouseStore
from streams.engine.stores.redis import RedisGenerations, RedisStore
from streams.engine.stores.redis import connect as connect_redis

#: Events that the next generation may be behind when readers are switched; the last ones follow in milliseconds.
CLOSE = 100
#: Seconds after which a rebuild that died no longer keeps others out.
LOCK_S = 3_600


class RebuildFailed(Exception):
    """The rebuild stopped; the live generation is as it was."""


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild did: events replayed, how fast, and whether the result was the same as the live generation."""

    events: int
    events_per_s: float
    identical: bool


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
    lock = client.lock(f"rebuild:{name}", timeout=LOCK_S, blocking=False)
    if not lock.acquire():
        raise RebuildFailed(f"{name} is being rebuilt by somebody else")
    try:
        hear = partial(on_progress, name)
        return _rebuild(rebuildable()[name], client, workers, hear, accept_differences=accept_differences)
    finally:
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
    try:
        ends = generations.begin()
        started = monotonic()
        _replay_in_processes(consumer, generations.next, ends, workers, on_progress)
        took_s = monotonic() - started
        identical = generations.identical()
        if identical or accept_differences:
            _catch_up(consumer, generations)
    except BaseException:
        generations.abandon()
        raise
    if identical or accept_differences:
        _switch(consumer, generations)
    else:
        generations.abandon()
    events = sum(ends.values())
    return Rebuilt(events, events / took_s, identical)


def _catch_up(consumer: Rebuildable, generations: Generations) -> None:
    """Follows the live generation until it is no more than CLOSE events ahead."""
    store, codec = generations.store(), connect_registry(settings.registry_url())
    behind = CLOSE + 1
    while behind > CLOSE:
        ends = generations.live_positions()
        replay(consumer, store, codec, settings.kafka(), ends)
        behind = sum(generations.live_positions().values()) - sum(ends.values())


def _switch(consumer: Rebuildable, generations: Generations) -> None:
    ends = generations.switch()
    # A partition that is lost here has been taken over by its worker, which goes on from where we were.
    replay(consumer, generations.store(), connect_registry(settings.registry_url()), settings.kafka(), ends)
    generations.finish()


def _generations(consumer: Rebuildable, client: "Redis") -> Generations:
    if isinstance(consumer, View):
        return RedisGenerations(client, consumer, settings.partitions())
    return ClickHouseGenerations(settings.clickhouse_url(), consumer, settings.partitions())


def _replay_in_processes(
    consumer: Rebuildable,
    generation: int,
    ends: Mapping[int, int],
    workers: int,
    on_progress: Callable[[int, int], None],
) -> None:
    """Shares the partitions out over processes. Raises RebuildFailed when one of them fails."""
    context = multiprocessing.get_context("spawn")
    counts: Queue[int] = context.Queue()
    shares = [{p: end for p, end in ends.items() if p % workers == worker} for worker in range(workers)]
    processes = [
        context.Process(target=_replay_share, args=(consumer.name, generation, share, counts), daemon=True)
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


def _replay_share(name: str, generation: int, ends: Mapping[int, int], counts: "Queue[int]") -> None:
    collect_rarely()
    consumer = rebuildable()[name]
    codec = connect_registry(settings.registry_url())
    lost = replay(consumer, _store(consumer, generation), codec, settings.kafka(), ends, counts.put)
    if lost:
        raise RebuildFailed(f"somebody else writes to generation {generation} of {name}: partitions {lost}")


def _store(consumer: Rebuildable, generation: int) -> Store:
    if isinstance(consumer, View):
        return RedisStore(connect_redis(settings.redis_url()), consumer, generation)
    return ClickHouseStore(settings.clickhouse_url(), consumer, generation)
