"""Generations of views and tables: which code has written to the live ones, who may build the next, what is left over."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread

from redis import Redis
from redis.exceptions import LockNotOwnedError, RedisError
from redis.lock import Lock

from api.services import tables, views
from kernel import settings
from streams.engine.consumer import Table, View
from streams.engine.folds import fold_of
from streams.engine.stores import clickhouse, redis
from streams.engine.stores.clickhouse import ClickHouseGenerations
from streams.engine.stores.redis import RedisGenerations

log = logging.getLogger(__name__)

#: Seconds after which a rebuild that died no longer keeps others out. One that lives says so three times as often.
LOCK_S = 30.0

Rebuildable = View | Table
Generations = RedisGenerations | ClickHouseGenerations


def rebuildable() -> Mapping[str, Rebuildable]:
    """Every view and table by name."""
    return {**views(), **tables()}


def generations_of(consumer: Rebuildable, client: "Redis") -> Generations:
    """The live generation of a view or table, and the way to its successor."""
    if isinstance(consumer, View):
        return RedisGenerations(client, consumer, settings.partitions())
    return ClickHouseGenerations(settings.clickhouse_url(), consumer, settings.partitions())


def changed() -> list[str]:
    """The views and tables whose live generations other code than this has written to: a rebuild may differ.

    Before the first worker has run there are none. Raises what a store raises that does not answer.
    """
    client = redis.connect(settings.redis_url())
    written = {
        name: redis.folds(client, name).get(redis.live_generation(client, name), set()) for name in views()
    }
    with clickhouse.connect(settings.clickhouse_url()) as tables_client:
        clickhouse.prepare(tables_client)
        written |= clickhouse.folds(tables_client, clickhouse.live_generations(tables_client, tables()))
    return [name for name, codes in written.items() if codes - {fold_of(rebuildable()[name])}]


def sweep() -> None:
    """Deletes what rebuilds that died have left; what one builds that lives is left alone: it holds the lock.

    Raises what a store raises that does not answer.
    """
    client = redis.connect(settings.redis_url())
    for name, consumer in rebuildable().items():
        with locked(client, name) as lock:
            if lock:
                generations_of(consumer, client).sweep()


@contextmanager
def locked(client: "Redis", name: str) -> Iterator[Lock | None]:
    """Keeps others out for as long as this process lives; None when somebody else does.

    A process that stands still for LOCK_S loses the lock for good: ask `owned` before what must not be done twice.
    """
    lock = client.lock(f"rebuild:{name}", timeout=LOCK_S, blocking=False, thread_local=False)
    if not lock.acquire():
        yield None
        return
    ended = Event()
    keeper = Thread(target=_keep, args=(lock, ended), name=f"lock of rebuild {name}", daemon=True)
    keeper.start()
    try:
        yield lock
    finally:
        ended.set()
        keeper.join()
        if lock.owned():
            lock.release()


def _keep(lock: Lock, ended: Event) -> None:
    while not ended.wait(LOCK_S / 3):
        try:
            lock.reacquire()
        except LockNotOwnedError:
            return  # whoever holds the lock finds out before it matters
        except RedisError as error:
            log.warning("the lock of a rebuild is not extended for now: %s", error)
