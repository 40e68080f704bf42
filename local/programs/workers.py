"""The Faust workers: equal, and as many as one likes."""

import sys
from importlib.metadata import version

from confluent_kafka import KafkaException

from kernel.kafka import describe_groups
from kernel.settings import OBJECTIVES
from local.layout import PARTITIONS, Layout, chosen
from local.program import NotReady, Program
from local.programs.services import manifests
from local.sources import python_sources
from streams.feeds import choices, feeds, needs


def programs(layout: Layout) -> tuple[Program, ...]:
    """One program a worker."""
    return tuple(_program(layout, f"worker-{number}") for number in range(1, layout.workers + 1))


def _program(layout: Layout, name: str) -> Program:
    own = sorted({setting for feed in feeds() for setting in needs(feed)})
    chosen_ones = {setting for feed in feeds() for setting in choices(feed)}
    return Program(
        name=name,
        version=f"Faust {version('faust-streaming')}",
        command=(sys.executable, "-m", "faust", "-A", "streams.app", "worker", "-l", "info", "--without-web"),
        port=layout.port_of(name),
        environment={
            **layout.environment_for("PARTITIONS", "KAFKA", "REGISTRY_URL", *own),
            **chosen({*OBJECTIVES, *chosen_ones}),
            "MAREA_METRICS_ADDRESS": layout.address(name),
        },
        sources=lambda: python_sources("streams.app", *manifests()),
        after=("migrations", "schemas", "starts", "redis", "clickhouse"),
        check=lambda: _check(layout),
    )


def _check(layout: Layout) -> None:
    """A worker has no port of its own. All are ready when every partition of every feed is being read."""
    groups = {f"marea.{name}": {each.topic for each in consumers} for name, (consumers, _) in feeds().items()}
    try:
        for name, described in describe_groups(layout.address("kafka"), list(groups), timeout_s=5).items():
            members = described.members
            read = {(at.topic, at.partition) for each in members for at in each.assignment.topic_partitions}
            wanted = {(topic, partition) for topic in groups[name] for partition in range(PARTITIONS)}
            if read != wanted or len(members) < layout.workers:
                raise NotReady(f"{name} has {len(members)} members, and nobody reads {sorted(wanted - read)}")
    except KafkaException as error:
        raise NotReady(str(error)) from error
