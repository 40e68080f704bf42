"""What the tests on the stack share: each leaves nothing parked; and a topic for events of a kind that nobody consumes."""

from collections.abc import Iterator

import pytest
from confluent_kafka.admin import NewTopic

from kernel import settings
from kernel.kafka import admin_client
from kernel.limits import MAX_RECORD_BYTES
from local.stack import Stack
from ops import databases
from ops.migrate import migrate
from ops.parked import Desk

TOPIC = "marea.untold"


@pytest.fixture(scope="module", autouse=True)
def nothing_stays_parked(stack: Stack) -> Iterator[None]:
    """What a module left parked would be a trouble to all that come after it."""
    yield
    assert [one.as_json() for one in Desk().aggregates()] == []


@pytest.fixture(scope="module")
def untold(stack: Stack) -> Iterator[None]:
    admin = admin_client(settings.kafka())
    config = {"max.message.bytes": str(MAX_RECORD_BYTES)}
    made = admin.create_topics([NewTopic(TOPIC, settings.partitions(), 1, config=config)])
    made[TOPIC].result(timeout=30)
    with databases.admin(settings.admin_database_url()) as cursor:
        cursor.execute("ALTER TABLE orders.outbox DROP CONSTRAINT owned")
    yield
    migrate()
    admin = admin_client(settings.kafka())
    admin.delete_topics([TOPIC])[TOPIC].result(timeout=30)
