"""The Faust workers: equal, and as many as one likes."""

import sys
from importlib.metadata import version

from confluent_kafka import KafkaException

from api.services import consumers
from kernel.kafka import admin_client
from local.layout import PARTITIONS, Layout, databases
from local.program import NotReady, Program
from local.programs.services import manifests
from local.sources import python_sources
from streams.engine.consumer import consumer_id


def programs(layout: Layout) -> tuple[Program, ...]:
    """One program a worker."""
    return tuple(_program(layout, f"worker-{number}") for number in range(1, layout.workers + 1))


def _program(layout: Layout, name: str) -> Program:
    urls = (f"{service.upper()}_DATABASE_URL" for service in databases())
    return Program(
        name=name,
        version=f"Faust {version('faust-streaming')}",
        command=(sys.executable, "-m", "faust", "-A", "streams.app", "worker", "-l", "info", "--without-web"),
        environment=layout.environment_for(
            "PARTITIONS", "KAFKA", "REGISTRY_URL", "REDIS_URL", "CLICKHOUSE_URL", *urls
        ),
        sources=lambda: python_sources("streams.app", *manifests()),
        after=("migrations", "schemas", "topics", "redis", "clickhouse"),
        check=lambda: _check(layout),
    )


def _check(layout: Layout) -> None:
    """A worker has no port of its own. All are ready when every partition of every consumer is being read."""
    groups = {f"marea.{consumer_id(consumer)}": consumer.topic for consumer in consumers()}
    admin = admin_client(layout.address("kafka"))
    try:
        for name, described in admin.describe_consumer_groups(list(groups), request_timeout=5).items():
            members = described.result().members
            read = {part.partition for member in members for part in member.assignment.topic_partitions}
            if read != set(range(PARTITIONS)) or len(members) < layout.workers:
                raise NotReady(f"{name} has {len(members)} members, who read partitions {sorted(read)}")
    except KafkaException as error:
        raise NotReady(str(error)) from error
