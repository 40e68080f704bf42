"""Kafka's administration."""

from confluent_kafka.admin import AdminClient


def admin_client(address: str) -> AdminClient:
    """A client for administration. Not to be kept: after a broker was killed, an old one only times out."""
    return AdminClient({"bootstrap.servers": address, "log_level": 0, "reconnect.backoff.max.ms": 100})
