"""Kafka's administration."""

from collections.abc import Mapping, Sequence
from concurrent.futures import wait

from confluent_kafka.admin import AdminClient, ConsumerGroupDescription


def admin_client(address: str) -> AdminClient:
    """A client for administration. Not to be kept: after a broker was killed, an old one only times out."""
    return AdminClient({"bootstrap.servers": address, "log_level": 0, "reconnect.backoff.max.ms": 100})


def describe_groups(address: str, groups: Sequence[str], timeout_s: float) -> Mapping[str, ConsumerGroupDescription]:
    """Who is in these consumer groups, and reads what. Raises KafkaException.

    The client outlives all of its answers: one that ends before leaves the others without an end.
    """
    kafka = admin_client(address)
    answers = kafka.describe_consumer_groups(list(groups), request_timeout=timeout_s)
    wait(answers.values())
    return {group: answer.result() for group, answer in answers.items()}
