"""Topics from which nothing could be rebuilt are refused."""

from collections.abc import Sequence

from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

_KEPT_FOR_EVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}


class UnfitTopic(Exception):
    """A topic is missing, deletes its history, or has another number of partitions: nothing could be rebuilt."""


def check_topics(bootstrap: str, topics: Sequence[str], partitions: int) -> None:
    """Raises UnfitTopic, saying what to change, unless every topic keeps all it ever had."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    metadata = admin.list_topics(timeout=30).topics
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
    for topic in topics:
        found = len(metadata[topic].partitions) if topic in metadata else 0
        if found != partitions:
            raise UnfitTopic(f"{topic} has {found} partitions, not the {partitions} of MAREA_PARTITIONS")
    for resource, answer in admin.describe_configs(resources).items():
        config = answer.result(timeout=30)
        for name, needed in _KEPT_FOR_EVER.items():
            if config[name].value != needed:
                raise UnfitTopic(
                    f"{resource.name} has {name}={config[name].value}, so it deletes history and no view could be"
                    f" rebuilt from it: set {name}={needed}"
                )
