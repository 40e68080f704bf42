"""How far every consumer is, read from the stores: what workers say of themselves is gone when they are."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from confluent_kafka import KafkaException
from psycopg2 import Error as PostgreSQLError
from redis.exceptions import RedisError

from api.services import services, tables, views
from kernel import settings
from streams.engine.consumer import Table, View, consumer_id
from streams.engine.stores import LaneId, Progress, clickhouse
from streams.engine.stores.clickhouse import generation_table, live_generations
from streams.engine.stores.postgres import stored_progress
from streams.engine.stores.redis import connect as connect_redis
from streams.engine.stores.redis import live_progress

#: What stores and brokers raise that do not answer.
UNANSWERED = (PostgreSQLError, RedisError, ClickHouseError, KafkaException, OSError)


def said(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {error}".strip().partition("\n")[0]


def progress() -> Mapping[str, Mapping[int, Progress]]:
    """By consumer, by partition. Raises what a store raises that does not answer."""
    return {consumer: at for kind in KINDS for consumer, at in progress_of(kind).items()}


def progress_of(kind: str) -> Mapping[str, Mapping[int, Progress]]:
    """As `progress`, of the consumers of one kind, which are in the same store or stores."""
    return {
        consumer: {partition: at.get(partition, Progress()) for partition in range(settings.partitions())}
        for consumer, at in KINDS[kind]().items()
    }


def parked() -> dict[str, int]:
    """By consumer that has some: how many events are parked."""
    counts = {
        consumer: sum(sum(at.parked.values()) for at in partitions.values())
        for consumer, partitions in progress().items()
    }
    return {consumer: count for consumer, count in counts.items() if count}


@cache
def tables_client(url: str) -> Client:
    """Opened once a process: opening one asks ClickHouse for all of its settings, and looks come every few seconds."""
    return clickhouse.connect(url)


def _of_views(found: Iterable[View]) -> dict[str, dict[int, Progress]]:
    client, partitions = connect_redis(settings.redis_url()), settings.partitions()
    return {consumer_id(view): live_progress(client, view.name, partitions) for view in found}


def _of_tables(found: Iterable[Table]) -> dict[str, dict[int, Progress]]:
    client = tables_client(settings.clickhouse_url())
    clickhouse.prepare(client)
    tables = {consumer_id(table): table for table in found}
    live = live_generations(client, [table.name for table in tables.values()])
    names = {
        consumer: generation_table(table.name, live[table.name])
        for consumer, table in tables.items()
        if table.name in live
    }
    return _by_consumer(tables, clickhouse.progress(client, names))


def _of_reactions() -> dict[str, dict[int, Progress]]:
    found: dict[str, dict[int, Progress]] = {}
    for service in services():
        if service.reactions:
            stored = stored_progress(settings.database_url(service.name), service.reactions)
            found |= _by_consumer(map(consumer_id, service.reactions), stored)
    return found


#: By kind, where its consumers' positions are.
KINDS: Mapping[str, Callable[[], Mapping[str, Mapping[int, Progress]]]] = {
    "view": lambda: _of_views(views().values()),
    "table": lambda: _of_tables(tables().values()),
    "reaction": _of_reactions,
}


def _by_consumer(
    consumers: Iterable[str], lanes: Mapping[LaneId, Progress]
) -> dict[str, dict[int, Progress]]:
    found: dict[str, dict[int, Progress]] = {consumer: {} for consumer in consumers}
    for lane, at in lanes.items():
        found[lane.consumer][lane.partition] = at
    return found
