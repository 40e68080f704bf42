"""Whether what there was at one moment has reached the consumers: through the relay and Kafka, and applied."""

from collections.abc import Collection
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from api.services import consumers, reactions
from kernel import settings
from kernel.kafka import admin_client
from ops.balance import LINES
from ops.databases import admin, admin_url, databases
from ops.positions import progress
from streams.engine.consumer import consumer_id

_NOW = "SELECT pg_current_wal_lsn()::text"
_CONFIRMED = """
SELECT coalesce(bool_and(confirmed_flush_lsn >= %s::pg_lsn), true)
FROM pg_replication_slots WHERE slot_type = 'logical' AND database = current_database()
"""
_TIMEOUT_S = 30


class Barrier:
    """Follows what is in every database at the moment when this is made, on its way to the named consumers.

    With one reaction come all: what one of them has done is compared with what another has. So it is with the lines that
    compare services with each other.
    """

    def __init__(self, names: Collection[str]) -> None:
        followed = {*names}
        reacting = {consumer_id(reaction) for reaction in reactions().values()}
        if followed & (reacting | LINES.keys()):
            followed |= reacting
        self._topics = {
            consumer_id(consumer): consumer.topic
            for consumer in consumers()
            if consumer_id(consumer) in followed
        }
        self._kafka = admin_client(settings.kafka())
        self._lsns = {url: _ask(url, _NOW) for url in map(admin_url, databases())}
        self._ends: dict[str, dict[int, int]] | None = None

    def is_passed(self) -> bool:
        """Whether all of it has been applied."""
        if self._ends is None:
            if not all(_ask(url, _CONFIRMED, lsn) for url, lsn in self._lsns.items()):
                return False
            self._ends = {topic: topic_ends(self._kafka, topic) for topic in set(self._topics.values())}
        at = progress()
        return all(
            at[consumer][partition].position >= end
            for consumer, topic in self._topics.items()
            for partition, end in self._ends[topic].items()
        )


def topic_ends(kafka: AdminClient, topic: str) -> dict[int, int]:
    """By partition, the offset that the next event gets."""
    latest = {
        TopicPartition(topic, partition): OffsetSpec.latest()  # type: ignore[no-untyped-call]
        for partition in range(settings.partitions())
    }
    answers = kafka.list_offsets(latest, request_timeout=_TIMEOUT_S)
    return {place.partition: answer.result().offset for place, answer in answers.items()}


def _ask(url: str, query: str, *parameters: Any) -> Any:
    with admin(url) as cursor:
        cursor.execute(query, parameters)
        [value] = cursor.fetchone() or [None]
        return value
