"""There is one way out of a service."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "kernel", "streams", "api", "connectors", "ops", "local", "demo", "cli", "bench")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def sources_with(pattern: str) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in SOURCES if re.search(pattern, path.read_text())]


def test_nothing_else_inserts_into_an_outbox() -> None:
    assert sources_with(r"(?i)(insert\s+into|copy)\s+(\w+\.|\{\w+\}\.)?outbox") == ["kernel/outbox.py"]


def test_nothing_has_a_producer_of_its_own() -> None:
    assert sources_with(r"\b(Producer|AIOProducer|SerializingProducer|KafkaProducer)\b") == []
