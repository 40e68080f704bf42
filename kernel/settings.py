"""Where things are: one environment variable each, or the file it names; a process gets only its own."""

import os
from pathlib import Path

#: By the names of the settings of how fresh things have to be, their defaults in seconds.
OBJECTIVES = {"VIEW_OBJECTIVE_S": "5", "TABLE_OBJECTIVE_S": "30", "REACTION_OBJECTIVE_S": "5", "SAGA_OBJECTIVE_S": "30"}


class MissingSetting(LookupError):
    """An environment variable that this process needs is not set."""


def setting(name: str, default: str | None = None) -> str:
    """The value of the variable MAREA_<name>, or what is in the file that MAREA_<name>_FILE names.

    Without either, the default; without that, too, MissingSetting is raised, saying which one is missing.
    """
    variable = f"MAREA_{name}"
    if variable in os.environ:
        return os.environ[variable]
    if f"{variable}_FILE" in os.environ:
        return Path(os.environ[f"{variable}_FILE"]).read_text().strip()
    if default is not None:
        return default
    raise MissingSetting(f"{variable} is not set: start through ./marea, or set it as ARCHITECTURE.md says")


def metrics_address() -> str | None:
    """host:port at which this process says how it is; None when it does not. Services say so at their own port."""
    return setting("METRICS_ADDRESS", "") or None


def objective_s(kind: str) -> float:
    """Seconds that what is not applied yet may be old: by a view, a table, a reaction; or a process over services."""
    name = f"{kind.upper()}_OBJECTIVE_S"
    return float(setting(name, OBJECTIVES[name]))


def kafka() -> str:
    """Bootstrap servers."""
    return setting("KAFKA")


def partitions() -> int:
    """How many partitions every topic has; readers and writers must agree on it."""
    return int(setting("PARTITIONS"))


def registry_url() -> str:
    """The schema registry's Confluent-compatible API."""
    return setting("REGISTRY_URL")


def service() -> str:
    """The name of the service that this process serves."""
    return setting("SERVICE")


def redis_url() -> str:
    """The views' Redis."""
    return setting("REDIS_URL")


def clickhouse_url() -> str:
    """The tables' ClickHouse: its HTTP address, with user, password and database."""
    return setting("CLICKHOUSE_URL")


def database_url(service: str) -> str:
    """The PostgreSQL database of one service, as its own role."""
    return setting(f"{service.upper()}_DATABASE_URL")


def outbox_days() -> int:
    """For how many days an outbox keeps what is in Kafka already; 7 unless it is set."""
    return int(setting("OUTBOX_DAYS", "7"))


def answer_hours() -> float:
    """For how many hours a repeated command is known as one; 24 unless it is set."""
    return float(setting("ANSWER_HOURS", "24"))


def task_hours() -> float:
    """For how many hours a task that is done is kept, to be looked at; 24 unless it is set."""
    return float(setting("TASK_HOURS", "24"))


def webhook_hours() -> float:
    """For how many hours it is known what others told, so that it does nothing when it comes again; 720 unless it is set."""
    return float(setting("WEBHOOK_HOURS", "720"))


def admin_database_url() -> str:
    """The services' PostgreSQL, as the role that may make roles, databases and replication slots."""
    return setting("ADMIN_DATABASE_URL")


def connect_url() -> str:
    """Kafka Connect's REST API."""
    return setting("CONNECT_URL")


def debezium_password() -> str:
    """The password of the role `debezium`, with which Kafka Connect reads the outboxes."""
    return setting("DEBEZIUM_PASSWORD")
