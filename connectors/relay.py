"""One Debezium connector for each database that holds outboxes: its configuration and its registration."""

import json
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random_exponential

from connectors.worker import PASSWORD_VARIABLE
from kernel.limits import MAX_RECORD_BYTES

RUNNING_TIMEOUT_S = 60.0
_POLL_S = 0.1
_BUSY_TIMEOUT_S = 30.0
#: Connect answers so while its workers share out connectors anew: 409 as documented, 500 for some requests.
_BUSY = {HTTPStatus.CONFLICT, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE}

#: The role that reads the outboxes.
ROLE = "debezium"
#: The state of a connector that Connect does not know.
MISSING = "MISSING"


class RelayDown(Exception):
    """A connector does not run. The text has what Connect says of it."""


class _RelayBusy(RelayDown):
    """Connect can't say now; every request of ours may be repeated."""


class Status(NamedTuple):
    """A connector's state in Connect's words (RUNNING, FAILED, STOPPED, ...) or MISSING; why, when it failed."""

    state: str
    why: str


class Database(NamedTuple):
    """A database with the outboxes of these services."""

    host: str
    port: int
    name: str
    services: tuple[str, ...]

    @property
    def outboxes(self) -> tuple[str, ...]:
        """The tables: every service's schema has the service's name."""
        return tuple(f"{service}.outbox" for service in self.services)

    @property
    def connector(self) -> str:
        """The connector's name, and the prefix of its own topics: unlike that of any other database."""
        return f"outbox.{self.host}.{self.port}.{self.name}"

    @property
    def slot(self) -> str:
        """The replication slot and the publication: the server knows them by database."""
        return f"{self.name}_outbox"

    @property
    def heartbeat_topic(self) -> str:
        """Where the connector notes that it is alive."""
        return f"__debezium-heartbeat.{self.connector}"


def databases(urls: Mapping[str, str]) -> list[Database]:
    """The distinct databases of the services; `urls` is by service."""
    found: dict[tuple[str, int, str], list[str]] = {}
    for service, url in sorted(urls.items()):
        parts = urlsplit(url)
        found.setdefault((parts.hostname or "", parts.port or 5432, parts.path[1:]), []).append(service)
    return [Database(*where, tuple(services)) for where, services in found.items()]


def configuration(database: Database) -> dict[str, str]:
    """The connector's configuration. The password stays in the worker's environment."""
    return {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": "1",
        "database.hostname": database.host,
        "database.port": str(database.port),
        "database.dbname": database.name,
        "database.user": ROLE,
        "database.password": f"${{env:{PASSWORD_VARIABLE}}}",
        "topic.prefix": database.connector,
        "plugin.name": "pgoutput",
        "slot.name": database.slot,
        "publication.name": database.slot,
        "publication.autocreate.mode": "disabled",
        "table.include.list": ",".join(database.outboxes),
        **_snapshot(database),
        **_ROUTER,
        **_BOUNDS,
        **_SPEED,
        **_ENDURANCE,
    }


def register(connect_url: str, database: Database) -> None:
    """Creates or updates the connector and waits until it runs. Raises RelayDown when it does not."""
    wanted = configuration(database)
    registered = _call(connect_url, "GET", f"{_path(database)}/config", missing_ok=True) or {}
    if {**wanted, "name": database.connector} != registered:
        _call(connect_url, "PUT", f"{_path(database)}/config", wanted)
    match connector_status(connect_url, database).state:
        case "FAILED":
            restart(connect_url, database)
        case "STOPPED":
            resume(connect_url, database)
    deadline = time.monotonic() + RUNNING_TIMEOUT_S
    while (status := connector_status(connect_url, database)).state != "RUNNING":
        if status.state == "FAILED" or time.monotonic() > deadline:
            raise RelayDown(f"connector {database.connector} is {status.state}: {status.why}")
        time.sleep(_POLL_S)


def connector_status(connect_url: str, database: Database) -> Status:
    """What Connect says of the connector and its task together."""
    answer = _call(connect_url, "GET", f"{_path(database)}/status", missing_ok=True)
    if not answer:
        return Status(MISSING, "Connect does not know it")
    parts: list[dict[str, str]] = [answer["connector"], *answer["tasks"]]
    worst = next((part for part in parts if part["state"] != "RUNNING"), parts[0])
    if worst["state"] == "RUNNING" and not answer["tasks"]:
        return Status("UNASSIGNED", "it has no task yet")
    return Status(worst["state"], _cause(worst.get("trace", "")))


def task_states(connect_url: str, database: Database) -> list[str]:
    """The states of the connector's tasks, in Connect's words; none when Connect does not know it. Raises RelayDown."""
    answer = _call(connect_url, "GET", f"{_path(database)}/status", missing_ok=True)
    return [task["state"] for task in answer["tasks"]] if answer else []


def restart(connect_url: str, database: Database, *, only_failed: bool = True) -> None:
    """Starts what of the connector has failed, or all of it: what has failed stays so until it is told to start again."""
    _call(connect_url, "POST", f"{_path(database)}/restart?includeTasks=true&onlyFailed={str(only_failed).lower()}")


def resume(connect_url: str, database: Database) -> None:
    """Starts a connector that was stopped or paused."""
    _call(connect_url, "PUT", f"{_path(database)}/resume")


def stop(connect_url: str, database: Database) -> None:
    """Stops the connector; its task ends soon after."""
    _call(connect_url, "PUT", f"{_path(database)}/stop")


def forget_offsets(connect_url: str, database: Database) -> None:
    """Lets a connector that is stopped begin with a snapshot. Raises RelayDown while its task still ends."""
    _call(connect_url, "DELETE", f"{_path(database)}/offsets")


def captured_lsn(connect_url: str, database: Database) -> int | None:
    """The place in the WAL up to which Connect knows all to be in Kafka; None when it knows of none."""
    answer = _call(connect_url, "GET", f"{_path(database)}/offsets")
    found = [each["offset"].get("lsn") for each in answer["offsets"] if each["offset"]]
    return next((int(lsn) for lsn in found if lsn is not None), None)


def _path(database: Database) -> str:
    return f"/connectors/{database.connector}"


def _cause(trace: str) -> str:
    """The last cause that a Java stack trace names, or its first line."""
    lines = trace.splitlines()
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return [*lines[:1], *causes][-1] if lines else ""


@retry(
    retry=retry_if_exception_type(_RelayBusy),
    wait=wait_random_exponential(multiplier=0.1, max=2),
    stop=stop_after_delay(_BUSY_TIMEOUT_S),
    reraise=True,
)
def _call(url: str, method: str, path: str, body: object = None, *, missing_ok: bool = False) -> Any:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, HTTPException) as error:
        raise RelayDown(f"Kafka Connect at {url} does not answer: {error!r}") from error
    finally:
        connection.close()
    if answer.status == HTTPStatus.NOT_FOUND and missing_ok:
        return None
    if answer.status >= HTTPStatus.BAD_REQUEST:
        refusal = _RelayBusy if answer.status in _BUSY else RelayDown
        raise refusal(f"{method} {path}: {answer.status} {content.decode(errors='replace')}")
    return json.loads(content) if content else None


def _snapshot(database: Database) -> dict[str, str]:
    """Rows that are older than the connector, or than the offsets it has left, are published again, all of them.

    Readers skip what they have; what they need is the order within an aggregate, which is that of its versions.
    """
    overrides = {
        f"snapshot.select.statement.overrides.{outbox}": f"SELECT * FROM {outbox} ORDER BY version, id"
        for outbox in database.outboxes
    }
    return {
        "snapshot.mode": "when_needed",
        # A slot that is ahead of the offsets was made anew: what is between would be skipped without a word.
        "offset.mismatch.strategy": "trust_offset",
        "snapshot.select.statement.overrides": ",".join(database.outboxes),
        **overrides,
    }


_ROUTER = {
    "key.converter": "org.apache.kafka.connect.storage.StringConverter",
    # Payloads pass as the bytes they are. Heartbeats are structs, which need a converter that knows structs.
    "value.converter": "io.debezium.converters.BinaryDataConverter",
    "value.converter.delegate.converter.type": "org.apache.kafka.connect.json.JsonConverter",
    "value.converter.delegate.converter.type.schemas.enable": "false",
    "header.converter": "org.apache.kafka.connect.storage.SimpleHeaderConverter",
    "extended.headers.enabled": "false",
    "tombstones.on.delete": "false",
    "transforms": "outbox",
    "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
    "transforms.outbox.route.topic.replacement": "marea.${routedByValue}",
    # The header `id` comes by itself.
    "transforms.outbox.table.fields.additional.placement": (
        "type:header:type,version:header:version,occurred_at:header:occurred_at,traceparent:header:traceparent"
    ),
    "transforms.outbox.table.op.invalid.behavior": "fatal",
}
# In bytes, too: a backlog of the largest events has to fit into the heap, several times over (as read from
# PostgreSQL, in the queue, in the batch that is sent, in the producer's buffer).
_BOUNDS = {
    "max.queue.size": "16384",
    "max.queue.size.in.bytes": str(16 * 1024 * 1024),
    "snapshot.fetch.size": "16",
    "producer.override.max.request.size": str(MAX_RECORD_BYTES),
    "producer.override.buffer.memory": str(32 * 1024 * 1024),
}
_SPEED = {
    # The connector's queue wakes its reader when there are as many as this; for fewer it waits out the poll interval,
    # the last millisecond of it in a busy loop. The producer gathers what is sent, and a longer interval saves CPU.
    "max.batch.size": "1",
    "poll.interval.ms": "10",
    "producer.override.acks": "all",
    "producer.override.enable.idempotence": "true",
    "producer.override.linger.ms": "1",
    "producer.override.batch.size": "262144",
    "producer.override.compression.type": "lz4",
}
_ENDURANCE = {
    "errors.tolerance": "none",
    # PostgreSQL comes back within seconds; until then every second another try, for ever.
    "errors.max.retries": "-1",
    "retriable.restart.connector.wait.ms": "1000",
    # PostgreSQL tells the connector nothing of transactions beside the outboxes, so a quiet outbox beside busy
    # tables would hold back WAL for ever. Each heartbeat writes a message into the WAL, which gives the connector
    # a new place to confirm; the next heartbeat carries that place to Kafka.
    "heartbeat.interval.ms": "1000",
    "heartbeat.action.query": "SELECT pg_logical_emit_message(true, 'heartbeat', '')",
    "message.prefix.exclude.list": "heartbeat",
}
