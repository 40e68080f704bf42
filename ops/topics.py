"""Kafka's topics: those of the services, and the connectors' heartbeats."""

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic

from api.services import topics
from kernel import settings
from kernel.kafka import admin_client
from ops.databases import databases

_FOR_EVER = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "compression.type": "producer",
}
_BRIEF = {"cleanup.policy": "delete", "retention.ms": "3600000"}


def make_topics() -> None:
    """Our topics keep everything; the connectors' heartbeats are for nobody."""
    ours = [_topic(name, settings.partitions(), _FOR_EVER) for name in topics()]
    theirs = [_topic(database.heartbeat_topic, 1, _BRIEF) for database in databases()]
    kafka = admin_client(settings.kafka())
    for created in kafka.create_topics([*ours, *theirs]).values():
        try:
            created.result(timeout=30)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _topic(name: str, partitions: int, config: dict[str, str]) -> NewTopic:
    brokers_default = -1  # how many replicas is for whoever runs the brokers to say
    return NewTopic(name, partitions, brokers_default, config=config)
