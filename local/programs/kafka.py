"""Kafka: one node that is broker and controller (KRaft)."""

import subprocess
import uuid
from pathlib import Path

from confluent_kafka import KafkaException

from kernel.kafka import admin_client
from kernel.limits import MAX_RECORD_BYTES
from local.layout import HOST, Layout
from local.program import NotReady, Program
from local.programs.java import java_sources, kafka_java, pinned_version, properties, watched

_HEAP_MIB = 384
_SETTINGS = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
# Topics are made by us, on purpose: a misspelt name must be an error.
auto.create.topics.enable=false
log.retention.ms=-1
message.max.bytes={max_record_bytes}
replica.fetch.max.bytes={max_record_bytes}
replica.fetch.response.max.bytes={max_record_bytes}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# After a kill the controller takes the broker back once the dead one's session is over.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
# A dead member of a group is noticed after 3 s: group.consumer.* for workers, group.min.* for Connect.
group.consumer.min.session.timeout.ms=3000
group.consumer.session.timeout.ms=3000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=500
group.min.session.timeout.ms=3000
# The cleaner works on a few small topics of Connect's; by default it takes 128 MiB for that.
log.cleaner.dedupe.buffer.size=8388608
# After a kill every log segment that was open is read again: by more than one thread.
num.recovery.threads.per.data.dir=2
"""


def program(layout: Layout) -> Program:
    """The broker."""
    settings = layout.run / "kafka.properties"
    return Program(
        name="kafka",
        version=pinned_version("kafka"),
        port=layout.port_of("kafka"),
        command=kafka_java("kafka", _HEAP_MIB, "kafka.Kafka", str(settings), agent=watched(layout, "kafka")),
        files={
            settings: properties(
                configuration(
                    HOST, layout.port_of("kafka"), layout.port_of("kafka-controller"), layout.data("kafka")
                )
            )
        },
        prepare=lambda: _format(layout, settings),
        sources=java_sources,
        check=lambda: _check(layout),
    )


def configuration(host: str, port: int, controller_port: int, data: Path) -> str:
    """The broker's properties."""
    return _SETTINGS.format(
        host=host, port=port, controller_port=controller_port, data=data, max_record_bytes=MAX_RECORD_BYTES
    )


def _format(layout: Layout, settings: Path) -> None:
    if not (layout.data("kafka") / "meta.properties").exists():
        arguments = ("format", "--cluster-id", uuid.uuid4().hex[:22], "--config", str(settings))
        command = kafka_java("kafka-format", _HEAP_MIB, "kafka.tools.StorageTool", *arguments)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _check(layout: Layout) -> None:
    try:
        admin_client(layout.address("kafka")).list_topics(timeout=2)
    except KafkaException as error:
        raise NotReady(str(error)) from error
