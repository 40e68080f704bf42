"""Whether a stack has done all that there is to do, asked of PostgreSQL and Kafka alone, whatever reads there."""

from collections.abc import Callable, Mapping
from contextlib import closing
from time import monotonic, sleep
from typing import Any

import psycopg2
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from kernel.kafka import admin_client

_OURS = "marea."
_NOW = "SELECT pg_current_wal_lsn()::text"
_CAPTURED = """
SELECT coalesce(bool_and(confirmed_flush_lsn >= %s::pg_lsn), true)
FROM pg_replication_slots WHERE slot_type = 'logical' AND database = current_database()
"""
_TIMEOUT_S, _LOOK_S = 30, 0.2
#: Places that are behind, in an error.
_SHOWN = 5


def await_quiet(database_url: str, kafka: str, patience_s: float) -> None:
    """Until the relay has captured what is in PostgreSQL now, and every group has read it. Raises TimeoutError.

    Consumers tell their groups every few seconds how far they are.
    """
    admin = admin_client(kafka)
    deadline = monotonic() + patience_s
    with closing(psycopg2.connect(database_url)) as database:
        database.autocommit = True
        now = _ask(database, _NOW)
        _await(lambda: [] if _ask(database, _CAPTURED, now) else ["the relay's slot"], deadline)
    ends = {
        topic: topic_ends(admin, topic)
        for topic in admin.list_topics(timeout=_TIMEOUT_S).topics
        if _is_ours(topic)
    }
    groups = _groups(admin)
    _await(lambda: [place for group in groups for place in _behind(admin, group, ends)], deadline)


def topic_ends(kafka: AdminClient, topic: str) -> dict[int, int]:
    """By partition, the offset that the next event gets."""
    partitions = kafka.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions
    latest = {
        TopicPartition(topic, partition): OffsetSpec.latest()  # type: ignore[no-untyped-call]
        for partition in partitions
    }
    answers = kafka.list_offsets(latest, request_timeout=_TIMEOUT_S)
    return {place.partition: answer.result().offset for place, answer in answers.items()}


def _groups(admin: AdminClient) -> list[str]:
    listed = admin.list_consumer_groups(request_timeout=_TIMEOUT_S).result()
    return [group.group_id for group in listed.valid if _is_ours(group.group_id)]


def _behind(admin: AdminClient, group: str, ends: Mapping[str, Mapping[int, int]]) -> list[str]:
    """Where the group has not read all, in words."""
    [answer] = admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group)], request_timeout=_TIMEOUT_S
    ).values()
    return [
        f"{group} in partition {place.partition} of {place.topic}: at {place.offset} of {end}"
        for place in answer.result().topic_partitions
        if place.offset < (end := ends.get(place.topic, {}).get(place.partition, 0))
    ]


def _is_ours(name: str) -> bool:
    return name.startswith(_OURS)


def _await(behind: Callable[[], list[str]], deadline: float) -> None:
    while late := behind():
        if monotonic() > deadline:
            raise TimeoutError(f"the stack is not quiet. Behind are: {', '.join(late[:_SHOWN])}")
        sleep(_LOOK_S)


def _ask(database: Any, query: str, *parameters: Any) -> Any:
    with database.cursor() as cursor:
        cursor.execute(query, parameters)
        [value] = cursor.fetchone() or [None]
        return value
