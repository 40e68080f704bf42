"""From an outbox to its topic. The events here are of a kind that nobody consumes."""

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
import requests
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource
from psycopg2.errors import ObjectInUse

from connectors.relay import (
    MISSING,
    Database,
    RelayDown,
    connector_status,
    forget_offsets,
    register,
    resume,
    stop,
)
from kernel import settings
from kernel.kafka import admin_client
from kernel.limits import MAX_EVENT_BYTES, MAX_RECORD_BYTES
from kernel.partition import partition_of
from local.layout import ROOT
from local.stack import Stack
from ops import databases
from ops.barrier import topic_ends
from ops.health import troubles
from ops.relay import Mender, begin_anew, has_sessions, slot_of
from tests.stack.conftest import TOPIC
from tests.stack.shop import eventually

pytestmark = pytest.mark.usefixtures("untold")

INSERT = """
INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, traceparent, occurred_at)
VALUES (%s, 'untold', %s, 'Happened', %s, %s, %s, %s)
"""
PAYLOAD = bytes(range(256))


@pytest.fixture
def database(stack: Stack) -> Database:
    (database,) = databases.databases()
    return database


@pytest.fixture
def outbox(stack: Stack) -> Iterator[Any]:
    connection = psycopg2.connect(settings.database_url("orders"))
    yield connection
    connection.close()


def publish(
    cursor: Any, key: str, version: int, occurred_at: datetime | None = None, payload: bytes = PAYLOAD
) -> str:
    event_id = str(uuid4())
    moment = occurred_at or datetime.now(UTC)
    cursor.execute(INSERT, (event_id, key, version, payload, "00-a-b-01", moment))
    return event_id


def read(keys: set[str]) -> list[Message]:
    """All messages of these keys that the topic has now."""
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka(),
            "group.id": "test",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,  # the broker says that there is no more after half a second else
        }
    )
    partitions = range(settings.partitions())
    consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in partitions])
    found: list[Message] = []
    at_end: set[int | None] = set()
    while len(at_end) < len(partitions):
        message = consumer.poll(10)
        assert message, "the broker does not answer"
        if message.error():
            at_end.add(message.partition())
        elif text(message.key()) in keys:
            found.append(message)
    consumer.close()
    return found


def versions(messages: list[Message], key: str) -> list[int]:
    return [int(headers(message)["version"]) for message in messages if text(message.key()) == key]


def headers(message: Message) -> dict[str, str]:
    return {name: text(value) for name, value in dict(message.headers() or ()).items()}


def text(value: str | bytes | None) -> str:
    assert isinstance(value, bytes)
    return value.decode()


def test_an_event_arrives_as_it_was_written(outbox: Any) -> None:
    key, moment = str(uuid4()), datetime.now(UTC).replace(microsecond=120)
    with outbox, outbox.cursor() as cursor:
        event_id = publish(cursor, key, 1, moment)
    (message,) = eventually(lambda: read({key}))
    assert message.value() == PAYLOAD
    assert message.partition() == partition_of(key, settings.partitions())
    envelope = headers(message)
    assert datetime.fromisoformat(envelope.pop("occurred_at")) == moment
    assert envelope == {
        "id": event_id,
        "type": "Happened",
        "version": "1",
        "traceparent": "00-a-b-01",
    }


def test_what_is_rolled_back_is_not_published(outbox: Any) -> None:
    undone, done = str(uuid4()), str(uuid4())
    with outbox.cursor() as cursor:
        publish(cursor, undone, 1)
    outbox.rollback()
    with outbox, outbox.cursor() as cursor:
        publish(cursor, done, 1)
    messages = eventually(lambda: read({undone, done}))
    assert [text(message.key()) for message in messages] == [done]


def test_registering_again_changes_nothing(stack: Stack, database: Database) -> None:
    url = stack.layout.environment["MAREA_CONNECT_URL"]
    status = f"{url}/connectors/{database.connector}/status"
    before = requests.get(status, timeout=10).json()
    register(url, database)
    assert requests.get(status, timeout=10).json() == before
    assert before["tasks"][0]["state"] == "RUNNING"


def test_a_quiet_outbox_holds_back_no_wal(stack: Stack, database: Database) -> None:
    connection = psycopg2.connect(stack.layout.database_url("admin"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        # Beside the outboxes: the connector hears nothing of it.
        cursor.execute("CREATE TABLE beside AS SELECT generate_series(1, 1000)")
        cursor.execute("DROP TABLE beside")
        cursor.execute("SELECT pg_current_wal_lsn()::text")
        [written] = cursor.fetchone() or [None]

        def confirmed() -> bool:
            cursor.execute(
                "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s",
                (written, database.slot),
            )
            return bool(cursor.fetchone() == (True,))

        eventually(confirmed)
    connection.close()


@pytest.fixture
def admin(stack: Stack) -> Iterator[Any]:
    with databases.admin(settings.admin_database_url()) as cursor:
        yield cursor


@pytest.mark.parametrize("lost", ["offsets", "slot", "offsets and slot", "slot, which somebody made anew"])
def test_what_was_written_while_nobody_captured_it_arrives_whole_and_in_order(
    stack: Stack, database: Database, outbox: Any, admin: Any, lost: str
) -> None:
    stack.stop("keep")
    stop(settings.connect_url(), database)
    eventually(lambda: connector_status(settings.connect_url(), database).state == "STOPPED")
    if "offsets" in lost:
        eventually(lambda: done(lambda: forget_offsets(settings.connect_url(), database)))
    if "slot" in lost:
        eventually(lambda: done(lambda: admin.execute("SELECT pg_drop_replication_slot(%s)", (database.slot,))))
    events = shuffled()
    with outbox, outbox.cursor() as cursor:
        for key, version in events:
            publish(cursor, key, version)
    if "anew" in lost:
        admin.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (database.slot,))
    stack.start("keep")
    await_whole_and_in_order(events)
    eventually(lambda: not troubles())


def test_a_slot_that_held_back_too_much_is_made_anew_and_nothing_is_skipped(
    stack: Stack, database: Database, outbox: Any, admin: Any
) -> None:
    admin.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    admin.execute("SELECT pg_reload_conf()")
    stack.stop("connect")
    try:
        assert any("nobody reads its replication slot" in trouble.why and trouble.still for trouble in troubles())
        events = shuffled()
        with outbox, outbox.cursor() as cursor:
            for key, version in events:
                publish(cursor, key, version)

        def lost() -> bool:
            admin.execute("SELECT pg_logical_emit_message(true, 'filler', repeat('x', 1000000))")
            admin.execute("SELECT pg_switch_wal()")
            admin.execute("CHECKPOINT")
            slot = slot_of(admin, database)
            return bool(slot and slot.is_lost)

        eventually(lost)
        [trouble] = [each for each in troubles() if each.what == f"the relay {database.connector}"]
        assert (trouble.why, trouble.still) == ("its replication slot is lost", True)
    finally:
        admin.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
        admin.execute("SELECT pg_reload_conf()")
        stack.start("connect")
    await_whole_and_in_order(events)
    eventually(lambda: not troubles())


def test_a_task_that_failed_is_started_again_and_status_says_why_it_stood_still(
    stack: Stack, database: Database, outbox: Any
) -> None:
    key = str(uuid4())
    limit_records(100)
    try:
        with outbox, outbox.cursor() as cursor:
            publish(cursor, key, 1)
        eventually(lambda: any("FAILED" in trouble.why and trouble.since for trouble in troubles()))
        said = subprocess.run(
            [sys.executable, "-m", "cli", "status", "--check", "--port", str(stack.layout.port)],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert said.returncode == 1
        assert re.match(r"The relay \S+ has stood still for \d+ (s|min): its task has FAILED: .*larger", said.stdout)
    finally:
        limit_records(MAX_RECORD_BYTES)
    eventually(lambda: versions(read({key}), key))
    eventually(lambda: not troubles())


@pytest.fixture
def unkept(stack: Stack, database: Database, admin: Any) -> Iterator[None]:
    """The relay is stopped, and nobody mends it; afterwards it is as before."""
    connect_url = settings.connect_url()
    stack.stop("keep")
    try:
        stop(connect_url, database)
        eventually(lambda: not has_sessions(admin))
        yield
    finally:
        resume(connect_url, database)
        stack.start("keep")
    eventually(lambda: has_sessions(admin))
    eventually(lambda: not troubles())


@pytest.mark.usefixtures("unkept")
def test_a_task_that_has_ended_though_connect_says_that_it_runs_is_started_again(database: Database) -> None:
    """Connect says so after it has given up a task that fails later than the one that came after it."""
    now_s = 0.0
    mender = Mender(lambda: now_s)
    with connect_that_says_running() as asked:
        mender.mend()
        assert asked == []
        now_s = 16.0
        mender.mend()
        start = f"POST /connectors/{database.connector}/restart?includeTasks=true&onlyFailed=false"
        assert asked == [start]
        now_s = 17.0
        mender.mend()
        assert asked == [start], "it has time to come back"


@pytest.mark.usefixtures("unkept")
def test_a_relay_does_not_begin_anew_before_the_last_task_has_left(stack: Stack, database: Database, admin: Any) -> None:
    """Connect gives up a task that does not end, and this one would make a slot beside the next."""
    path = f"/connectors/{database.connector}"
    with connect_that_says_running() as asked, ThreadPoolExecutor(1) as pool:
        with closing(psycopg2.connect(stack.layout.database_url("debezium"))):
            beginning = pool.submit(begin_anew, admin, database)
            eventually(lambda: is_waiting_for_a_task(stack, database))
            assert asked == [f"PUT {path}/stop", f"DELETE {path}/offsets"]
        beginning.result(timeout=30)
        assert asked[2:] == [f"PUT {path}/resume"]


def is_waiting_for_a_task(stack: Stack, database: Database) -> bool:
    """Whether the slot is gone, and it has been asked since who is there."""
    with databases.admin(stack.layout.database_url("admin")) as cursor:
        cursor.execute("SELECT FROM pg_stat_activity WHERE usename = 'admin' AND state = 'idle' AND query LIKE '%usename = ''debezium''%'")
        return bool(cursor.rowcount) and slot_of(cursor, database) is None


@contextmanager
def connect_that_says_running() -> Iterator[list[str]]:
    """In place of the stack's Connect, one that says of all connectors that they run; and what else it is asked for."""
    asked: list[str] = []
    running = {"connector": {"state": "RUNNING"}, "tasks": [{"state": "RUNNING"}]}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(json.dumps(running).encode())

        def do_POST(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self._answer(b"")

        do_PUT = do_DELETE = do_POST  # noqa: N815  # as the library wants them

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server, pytest.MonkeyPatch.context() as patch:
        thread = Thread(target=server.serve_forever)
        thread.start()
        patch.setenv("MAREA_CONNECT_URL", f"http://127.0.0.1:{server.server_port}")
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()


def test_a_connector_that_connect_has_forgotten_is_registered_again(
    stack: Stack, database: Database, outbox: Any
) -> None:
    key = str(uuid4())
    connector = f"{settings.connect_url()}/connectors/{database.connector}"
    stack.stop("keep")
    eventually(lambda: requests.delete(connector, timeout=10).ok)
    eventually(lambda: connector_status(settings.connect_url(), database).state == MISSING)
    with outbox, outbox.cursor() as cursor:
        publish(cursor, key, 1)
    stack.start("keep")
    eventually(lambda: versions(read({key}), key))
    eventually(lambda: not troubles())


def test_a_backlog_of_the_largest_events_fits_into_connects_memory(
    stack: Stack, database: Database, outbox: Any
) -> None:
    before = stack.supervisor.states()["connect"].pid
    key, payload = str(uuid4()), random.Random(0).randbytes(MAX_EVENT_BYTES)
    stop(settings.connect_url(), database)
    stack.stop("keep")
    eventually(lambda: connector_status(settings.connect_url(), database).state == "STOPPED")
    there, count = records(key), 250
    with outbox.cursor() as cursor:
        for version in range(1, count + 1):
            publish(cursor, key, version, payload=payload)
            outbox.commit()
    stack.start("keep")
    eventually(lambda: records(key) >= there + count, patience_s=180)
    assert stack.supervisor.states()["connect"].pid == before


def shuffled() -> list[tuple[str, int]]:
    """Keys and versions, not in the order of the table: what counts is the version."""
    events = [(key, version) for key in (str(uuid4()) for _ in range(10)) for version in range(1, 21)]
    random.Random(0).shuffle(events)
    return events


def await_whole_and_in_order(events: list[tuple[str, int]]) -> None:
    keys = {key for key, _ in events}

    def arrived() -> list[Message] | None:
        messages = read(keys)
        return messages if all(versions(messages, key)[-1:] == [20] for key in keys) else None

    messages = eventually(arrived)
    for key in keys:
        seen = versions(messages, key)
        firsts = [version for at, version in enumerate(seen) if version not in seen[:at]]
        assert firsts == list(range(1, 21))


def done(work: Callable[[], Any]) -> bool:
    """Whether it could be done now: a task that was stopped takes a moment to end."""
    try:
        work()
    except (RelayDown, ObjectInUse):
        return False
    return True


def limit_records(most_bytes: int) -> None:
    """What the topic takes of one record."""
    entry = ConfigEntry("max.message.bytes", str(most_bytes), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, TOPIC, incremental_configs=[entry])
    kafka = admin_client(settings.kafka())
    kafka.incremental_alter_configs([resource])[resource].result(timeout=30)


def records(key: str) -> int:
    """How many there are in the key's partition."""
    kafka = admin_client(settings.kafka())
    return topic_ends(kafka, TOPIC)[partition_of(key, settings.partitions())]
