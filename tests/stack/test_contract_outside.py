"""What outsiders rely on: topics that keep everything, schemas that stay readable, roles that reach no further."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from confluent_kafka.schema_registry import SchemaRegistryClient

from api.services import consumers
from kernel import settings
from local.layout import databases
from local.stack import Stack
from ops.parked import Aggregate, Desk
from schemas import order as order_events
from schemas import registry
from schemas.codec import TOPICS, TYPES
from streams.engine.consumer import consumer_id
from streams.engine.topics import UnfitTopic, check_topics
from tests.stack.shop import Shop, eventually

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("stack")


def test_the_consumer_in_the_documents_reads_orders() -> None:
    shop = Shop()
    order_id = shop.order([(shop.stocked("milk", 10, 321), 1)]).json()["id"]
    shop.settled(order_id)
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "consumer.md").read_text(), re.DOTALL)
    environment = os.environ | {"PYTHONPATH": ""}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert f"OrderPlaced {order_id} 321" in ran.stdout.splitlines(), ran.stderr
    assert f"OrderConfirmed {order_id} 321" in ran.stdout.splitlines()


@pytest.fixture
def client() -> Iterator[SchemaRegistryClient]:
    with closing(SchemaRegistryClient({"url": settings.registry_url()})) as client:
        yield client


def test_an_incompatible_schema_is_refused_and_a_compatible_one_is_not(client: SchemaRegistryClient) -> None:
    confirmed = TYPES["OrderConfirmed"]
    record = json.loads(confirmed.text)
    needed = record | {"fields": [*record["fields"], {"name": "channel", "type": "string"}]}
    with pytest.raises(registry.IncompatibleSchema, match="give a new field a default"):
        registry.register_one(client, confirmed._replace(text=json.dumps(needed)))
    missing = record | {"fields": record["fields"][:-1]}  # which old readers need
    with pytest.raises(registry.IncompatibleSchema, match="take none away"):
        registry.register_one(client, confirmed._replace(text=json.dumps(missing)))
    probe = confirmed._replace(name="Probe")
    first = record | {"name": "Probe"}
    defaulted = first | {
        "fields": [*record["fields"], {"name": "channel", "type": "string", "default": "web"}]
    }
    ids = {
        registry.register_one(client, probe._replace(text=json.dumps(text))) for text in (first, defaulted)
    }
    assert len(ids) == 2


def test_registering_again_changes_nothing() -> None:
    assert registry.register(settings.registry_url()) == registry.register(settings.registry_url())


def test_the_topics_keep_everything() -> None:
    check_topics(settings.kafka(), TOPICS, settings.partitions())


@pytest.mark.parametrize(
    ("name", "value"),
    [("retention.ms", "86400000"), ("retention.bytes", "1000000000"), ("cleanup.policy", "compact")],
)
def test_a_worker_refuses_a_topic_that_deletes_history_and_says_why(name: str, value: str) -> None:
    admin = AdminClient({"bootstrap.servers": settings.kafka()})
    kept = {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}[name]
    topic = TOPICS[0]

    def configure(value: str) -> None:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        [done] = admin.incremental_alter_configs([resource]).values()
        done.result()

    # Long enough that nothing is deleted while the test looks.
    configure(value)
    try:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "faust", "-A", "streams.app", "worker", "--without-web"]
        ran = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode != 0
        assert f"{topic} has {name}=" in ran.stdout + ran.stderr
    finally:
        configure(kept)


def test_a_worker_refuses_another_number_of_partitions() -> None:
    with pytest.raises(UnfitTopic, match="MAREA_PARTITIONS"):
        check_topics(settings.kafka(), TOPICS, settings.partitions() + 1)


@pytest.mark.parametrize("service", databases())
def test_a_services_role_reaches_its_own_schema_only(service: str) -> None:
    with psycopg2.connect(settings.database_url(service)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM position")
    statements = [f"SELECT 1 FROM {other}.position" for other in databases() if other != service]
    statements += ["SELECT 1 FROM outbox", "DELETE FROM outbox", "UPDATE outbox SET version = 1"]
    statements += ["CREATE TABLE mine (x int)", "DROP TABLE outbox", "SELECT pg_read_file('/etc/passwd')"]
    for statement in statements:
        connection = psycopg2.connect(settings.database_url(service))
        with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(statement)
        connection.close()


@pytest.mark.parametrize(
    ("service", "own", "foreign"),
    [("orders", "order", "stock"), ("catalog", "product", "order"), ("inventory", "reservation", "product")],
)
def test_an_outbox_takes_no_event_of_a_topic_of_another_service(service: str, own: str, foreign: str) -> None:
    insert = """INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, occurred_at)
                VALUES (gen_random_uuid(), %s, 'milk', 'Any', 1, '', now())"""
    with closing(psycopg2.connect(settings.database_url(service))) as connection, connection.cursor() as cursor:
        with pytest.raises(psycopg2.errors.CheckViolation, match="owned"):
            cursor.execute(insert, (foreign,))
        connection.rollback()
        cursor.execute(insert, (own,))
        connection.rollback()


def test_the_relays_role_reads_the_outboxes_and_nothing_else(stack: Stack) -> None:
    url = stack.layout.database_url("debezium")
    for service in databases():
        with psycopg2.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {service}.outbox")
        for statement in (f"SELECT 1 FROM {service}.position", f"DELETE FROM {service}.outbox"):
            connection = psycopg2.connect(url)
            with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
            connection.close()


def test_messages_that_are_no_events_are_parked_and_stop_nothing() -> None:
    shop, desk = Shop(), Desk()
    sku = shop.stocked("milk", 10)
    producer = Producer({"bootstrap.servers": settings.kafka(), "partitioner": "murmur2_random"})
    keys = [f"junk-{number}-{shop.name}" for number in range(3)]
    envelope: dict[str, str | bytes | None] = {
        "id": "1",
        "type": "OrderPlaced",
        "version": "1",
        "occurred_at": "2026-01-01T00:00:00Z",
    }
    producer.produce("marea.order", key=keys[0], value=b'{"not": "avro"}')
    producer.produce("marea.order", key=keys[1], value=b"\x00\x7f\xff\xff\xffjunk", headers=envelope)
    producer.produce("marea.order", key=keys[2], value=None, headers=envelope)
    producer.flush(30)
    order = shop.settled(shop.order([(sku, 1)]).json()["id"])
    assert order["status"] == "confirmed"

    def junk() -> list[Aggregate]:
        return [one for one in desk.aggregates() if one.key in keys]

    readers = [consumer_id(each) for each in consumers() if each.topic == order_events.TOPIC]
    eventually(lambda: len(junk()) == len(keys) * len(readers))
    desk.drop(junk(), "no events")
    assert junk() == []
