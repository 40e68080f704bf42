"""Kafka's topics: those of the services, and the connectors' heartbeats."""

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from api.services import topics
from kernel import settings
from kernel.kafka import admin_client
from kernel.limits import MAX_RECORD_BYTES
from ops.databases import databases

_TIMEOUT_S = 30
_FOR_EVER = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "compression.type": "producer",
    "max.message.bytes": str(MAX_RECORD_BYTES),
}
_BRIEF = {"cleanup.policy": "delete", "retention.ms": "3600000"}


def make_topics() -> None:
    """Our topics keep everything; the connectors' heartbeats are for nobody."""
    ours = [_topic(name, settings.partitions(), _FOR_EVER) for name in topics()]
    theirs = [_topic(database.heartbeat_topic, 1, _BRIEF) for database in databases()]
    kafka = admin_client(settings.kafka())
    for created in kafka.create_topics([*ours, *theirs]).values():
        try:
            created.result(timeout=_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    _configure(kafka, topics(), _FOR_EVER)


def _configure(kafka: AdminClient, names: list[str], config: dict[str, str]) -> None:
    """Topics that were there already are as those that are made now."""
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()
    ]
    resources = [ConfigResource(ConfigResource.Type.TOPIC, str(name), incremental_configs=entries) for name in names]
    for configured in kafka.incremental_alter_configs(resources).values():
        configured.result(timeout=_TIMEOUT_S)


def _topic(name: str, partitions: int, config: dict[str, str]) -> NewTopic:
    brokers_default = -1  # how many replicas is for whoever runs the brokers to say
    return NewTopic(name, partitions, brokers_default, config=config)
