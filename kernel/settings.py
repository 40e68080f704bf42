"""Where things are: one environment variable each, read when first needed, so a process gets only its own."""

import os


class MissingSetting(LookupError):
    """An environment variable that this process needs is not set."""


def setting(name: str) -> str:
    """The value of the variable MAREA_<name>. Raises MissingSetting, saying which one is missing."""
    variable = f"MAREA_{name}"
    try:
        return os.environ[variable]
    except KeyError:
        raise MissingSetting(f"{variable} is not set: start through ./marea, or set it as ARCHITECTURE.md says") from None


def kafka() -> str:
    """Bootstrap servers."""
    return setting("KAFKA")


def partitions() -> int:
    """How many partitions every topic has; readers and writers must agree on it."""
    return int(setting("PARTITIONS"))


def registry_url() -> str:
    """The schema registry's Confluent-compatible API."""
    return setting("REGISTRY_URL")


def redis_url() -> str:
    """The views' Redis."""
    return setting("REDIS_URL")


def clickhouse_url() -> str:
    """The tables' ClickHouse: its HTTP address, with user, password and database."""
    return setting("CLICKHOUSE_URL")


def database_url(service: str) -> str:
    """The PostgreSQL database of one service, as its own role."""
    return setting(f"{service.upper()}_DATABASE_URL")
