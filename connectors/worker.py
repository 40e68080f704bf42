"""The configuration of a Kafka Connect worker."""

from pathlib import Path

#: The worker's environment variable with the password of the role `debezium`.
PASSWORD_VARIABLE = "MAREA_DEBEZIUM_PASSWORD"  # noqa: S105  the variable's name

_TEMPLATE = Path(__file__).with_name("worker.properties")


def write(path: Path, kafka: str, host: str, port: int, plugins: Path) -> None:
    """Writes the properties of a worker whose REST API listens on host and port."""
    text = _TEMPLATE.read_text()
    path.write_text(text.format(kafka=kafka, host=host, port=port, plugins=plugins))
