"""From an outbox to its topic. The events here are of a kind that nobody consumes."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
import requests
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.relay import Database, register
from kernel import settings
from kernel.partition import partition_of
from local.stack import Stack
from ops.databases import databases
from ops.relay import register_connectors
from tests.stack.shop import eventually

TOPIC = "marea.untold"
INSERT = """
INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, traceparent, occurred_at)
VALUES (%s, 'untold', %s, 'Happened', %s, %s, %s, %s)
"""
PAYLOAD = bytes(range(256))


@pytest.fixture(scope="module", autouse=True)
def topic(stack: Stack) -> Iterator[None]:
    admin = AdminClient({"bootstrap.servers": settings.kafka()})
    admin.create_topics([NewTopic(TOPIC, settings.partitions(), 1)])[TOPIC].result(timeout=30)
    yield
    admin.delete_topics([TOPIC])[TOPIC].result(timeout=30)


@pytest.fixture
def database(stack: Stack) -> Database:
    (database,) = databases()
    return database


@pytest.fixture
def outbox(stack: Stack) -> Iterator[Any]:
    connection = psycopg2.connect(settings.database_url("orders"))
    yield connection
    connection.close()


def publish(cursor: Any, key: str, version: int, occurred_at: datetime | None = None) -> str:
    event_id = str(uuid4())
    moment = occurred_at or datetime.now(UTC)
    cursor.execute(INSERT, (event_id, key, version, PAYLOAD, "00-a-b-01", moment))
    return event_id


def read(keys: set[str]) -> list[Message]:
    """All messages of these keys that the topic has now."""
    consumer = Consumer(
        {"bootstrap.servers": settings.kafka(), "group.id": "test", "enable.partition.eof": True}
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
    key, moment = str(uuid4()), datetime(2026, 11, 21, 6, 47, 0, 120, UTC)
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


@pytest.mark.parametrize("lost", ["offsets", "slot", "offsets and slot"])
def test_what_was_written_while_nobody_captured_it_arrives_whole_and_in_order(
    stack: Stack, database: Database, outbox: Any, lost: str
) -> None:
    connector = f"{stack.layout.environment['MAREA_CONNECT_URL']}/connectors/{database.connector}"
    eventually(lambda: requests.put(f"{connector}/stop", timeout=10).ok)
    eventually(
        lambda: requests.get(f"{connector}/status", timeout=10).json()["connector"]["state"] == "STOPPED"
    )
    if "offsets" in lost:
        eventually(lambda: requests.delete(f"{connector}/offsets", timeout=10).ok)
    if "slot" in lost:
        drop_slot(stack, database.slot)
    keys = {str(uuid4()) for _ in range(10)}
    events = [(key, version) for key in keys for version in range(1, 21)]
    # Not in the order of the table: what counts is the version.
    random.Random(0).shuffle(events)
    with outbox, outbox.cursor() as cursor:
        for key, version in events:
            publish(cursor, key, version)
    eventually(lambda: requests.put(f"{connector}/resume", timeout=10).ok)
    register_connectors()
    eventually(lambda: {key for key in keys if versions(read(keys), key)[-1:] == [20]} == keys)
    messages = read(keys)
    for key in keys:
        seen = versions(messages, key)
        firsts = [version for at, version in enumerate(seen) if version not in seen[:at]]
        assert firsts == list(range(1, 21))


def drop_slot(stack: Stack, slot: str) -> None:
    connection = psycopg2.connect(stack.layout.database_url("admin"))
    connection.autocommit = True

    def dropped() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active"
            )
            return bool(cursor.rowcount == 1)

    eventually(dropped)
    connection.close()
