"""What the observer reads, by source: each reading gives samples, or raises because its source does not answer.

Nothing is asked of a worker: what it says of itself is gone when it is. Positions, lags and all else are found by the code
by which `status` finds them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import product
from typing import Any, get_args

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec
from psycopg2.sql import SQL, Identifier

from api.services import consumers, services, tables
from connectors.relay import task_states
from kernel import metrics, settings
from kernel.kafka import admin_client
from kernel.metrics import Sample
from ops import due, history
from ops.consumers import lags_s, topics_ends, unassigned
from ops.databases import admin, admin_url, database_of, databases
from ops.due import Waiting
from ops.generations import rebuildable
from ops.parked import Aggregate, Desk
from ops.positions import progress_of, tables_client
from ops.rebuild import progress_key
from ops.relay import Slot, slot_of
from streams.engine.consumer import consumer_id
from streams.engine.stores import Cause, Progress
from streams.engine.stores.clickhouse import generation_table, live_generations
from streams.engine.stores.redis import connect as connect_redis

Reading = Callable[[], Iterable[Sample]]

#: The states in which a task of Kafka Connect may be: those in which none is are told, too.
_TASK_STATES = ("RUNNING", "FAILED", "PAUSED", "UNASSIGNED")
_KINDS = ("view", "table", "reaction", "saga")
_TIMEOUT_S = 10
# What a summary is kept in has a name that begins with a dot, and is made anew with each refresh.
_PARTS = """
SELECT table, count() FROM system.parts
WHERE active AND database = currentDatabase() AND NOT startsWith(table, '.') GROUP BY table
"""


def objectives() -> Iterator[Sample]:
    """How fresh all of it has to be: a setting."""
    for kind in _KINDS:
        yield Sample(metrics.OBJECTIVE, (kind,), settings.objective_s(kind))


def of_kind(kind: str) -> Iterator[Sample]:
    """How far the consumers of one kind are, and what they have parked."""
    at = progress_of(kind)
    ends = topics_ends()  # afterwards: of a log that only grows, no position read before is beyond its end
    lagging = lags_s(at, ends)
    with_parked = [name for name, mine in at.items() if any(each.parked for each in mine.values())]
    parked = Desk().aggregates(with_parked) if with_parked else []
    yield from positions({consumer_id(each): ends[each.topic] for each in consumers()}, at)
    for name, seconds in lagging.items():
        yield Sample(metrics.LAG_SECONDS, (name, kind), seconds)
    yield from of_parked(at, parked, datetime.now(UTC))


def positions(
    ends: Mapping[str, Mapping[int, int]], at: Mapping[str, Mapping[int, Progress]]
) -> Iterator[Sample]:
    """Each consumer's position, and how many events of its topic, which ends there, are behind it."""
    for name, mine in at.items():
        for partition, progress in mine.items():
            labels = (name, str(partition))
            yield Sample(metrics.POSITION, labels, progress.position)
            yield Sample(metrics.LAG_EVENTS, labels, max(0, ends[name][partition] - progress.position))


def of_parked(names: Iterable[str], parked: Sequence[Aggregate], now: datetime) -> Iterator[Sample]:
    """How many events each consumer has parked, by cause, and for how long."""
    counts: Counter[tuple[str, str]] = Counter()
    since: dict[tuple[str, str], datetime] = {}
    for aggregate in parked:
        for event in aggregate.events:
            labels = (aggregate.lane.consumer, str(event.cause))
            counts[labels] += 1
            since[labels] = min(event.since, since.get(labels, event.since))
    for labels in product(names, get_args(Cause)):
        yield Sample(metrics.PARKED, labels, counts[labels])
        yield Sample(metrics.PARKED_OLDEST, labels, (now - since.get(labels, now)).total_seconds())


def feeds() -> Iterator[Sample]:
    """The partitions that nobody reads."""
    for feed, places in unassigned().items():
        yield Sample(metrics.UNASSIGNED, (feed,), len(places))


def heartbeats() -> Iterator[Sample]:
    """When each connector last wrote to Kafka."""
    asked = {each.connector: TopicPartition(each.heartbeat_topic, 0) for each in databases()}
    latest = {place: OffsetSpec.max_timestamp() for place in asked.values()}  # type: ignore[no-untyped-call]
    kafka = admin_client(settings.kafka())
    answers = kafka.list_offsets(latest, request_timeout=_TIMEOUT_S)
    for connector, place in asked.items():
        yield Sample(metrics.HEARTBEAT, (connector,), max(0, answers[place].result().timestamp) / 1_000)


def connectors() -> Iterator[Sample]:
    """What Kafka Connect says of its tasks."""
    for database in databases():
        counts = Counter(task_states(settings.connect_url(), database))
        for state in {*_TASK_STATES, *counts}:
            yield Sample(metrics.TASKS_OF_CONNECTOR, (database.connector, state), counts[state])


def slots() -> Iterator[Sample]:
    """The replication slots; one that is missing is not read."""
    for database in databases():
        with admin(admin_url(database)) as cursor:
            yield from of_slot(database.slot, slot_of(cursor, database))


def of_slot(name: str, slot: Slot | None) -> Iterator[Sample]:
    """One of them."""
    yield Sample(metrics.SLOT_ACTIVE, (name,), bool(slot and slot.active))
    yield Sample(metrics.SLOT_LOST, (name,), bool(slot and slot.is_lost))
    if slot and slot.retained_bytes is not None:
        yield Sample(metrics.SLOT_RETAINED, (name,), slot.retained_bytes)
    if slot and slot.safe_bytes is not None:
        yield Sample(metrics.SLOT_SAFE, (name,), slot.safe_bytes)


def due_now() -> Iterator[Sample]:
    """Deadlines and tasks."""
    yield from of_due(due.waiting(), datetime.now(UTC))


def of_due(found: Sequence[Waiting], now: datetime) -> Iterator[Sample]:
    """Each by service, name and state; the states in which none is, too."""
    numbers = {(each.what, each.service, each.name, each.state): each for each in found}
    declared = {
        (what, service.name, name, state)
        for service in services()
        for what, names, states in (
            ("deadline", [each.name for each in service.deadlines], due.DEADLINE_STATES),
            ("task", [each.kind for each in service.calls], due.TASK_STATES),
        )
        for name in names
        for state in states
    }
    for key in declared | numbers.keys():
        what, *labels = key
        number, oldest = {
            "deadline": (metrics.DEADLINES, metrics.DEADLINES_OLDEST),
            "task": (metrics.TASKS, metrics.TASKS_OLDEST),
        }[what]
        each = numbers.get(key)
        yield Sample(number, tuple(labels), each.number if each else 0)
        yield Sample(oldest, tuple(labels), max(0.0, each.age_s(now)) if each else 0)


def gauges() -> Iterator[Sample]:
    """What services count of their own, as their manifests say."""
    for service in services():
        if service.gauges:
            with admin(admin_url(database_of(service.name))) as cursor:
                cursor.execute(SQL("SET search_path = {}").format(Identifier(service.name)))
                for gauge in service.gauges:
                    cursor.execute(gauge.query)
                    [value] = cursor.fetchone() or (0,)
                    yield Sample(gauge.metric, (), float(value))


def verified() -> Iterator[Sample]:
    """What verify found last."""
    for look in history.last():
        yield Sample(metrics.VERIFY_DIFFERENCES, (look.consumer,), look.differences)
        yield Sample(metrics.VERIFY_TIME, (look.consumer,), look.looked_at.timestamp())


def rebuilds() -> Iterator[Sample]:
    """How far those rebuilds are that run."""
    names = list(rebuildable())
    with connect_redis(settings.redis_url()) as client:
        ratios: Any = client.mget([progress_key(name) for name in names])
    for name, ratio in zip(names, ratios, strict=True):
        yield Sample(metrics.REBUILD_PROGRESS, (consumer_id(rebuildable()[name]),), float(ratio or 0))


def parts() -> Iterator[Sample]:
    """How many parts ClickHouse has of each reporting table's live generation, and of the engine's own tables."""
    client = tables_client(settings.clickhouse_url())
    live = {generation_table(name, n): name for name, n in live_generations(client, list(tables())).items()}
    for table, count in client.query(_PARTS).result_rows:
        if table in live or not table[-1].isdigit():
            yield Sample(metrics.CLICKHOUSE_PARTS, (str(live.get(table, table)),), count)


READINGS: Mapping[str, Reading] = {
    "objectives": objectives,
    "views": partial(of_kind, "view"),
    "tables": partial(of_kind, "table"),
    "reactions": partial(of_kind, "reaction"),
    "feeds": feeds,
    "heartbeats": heartbeats,
    "connectors": connectors,
    "slots": slots,
    "due": due_now,
    "gauges": gauges,
    "verify": verified,
    "rebuilds": rebuilds,
    "parts": parts,
}
