"""The configuration of a Kafka Connect worker."""

from pathlib import Path

#: The worker's environment variable with the password of the role `debezium`.
PASSWORD_VARIABLE = "MAREA_DEBEZIUM_PASSWORD"  # noqa: S105  the variable's name

_TEMPLATE = Path(__file__).with_name("worker.properties")


def settings(kafka: str, host: str, port: int, plugins: Path) -> str:
    """The properties of a worker whose REST API listens on host and port."""
    return _TEMPLATE.read_text().format(kafka=kafka, host=host, port=port, plugins=plugins)
