"""The outboxes' partitions: made ahead, dropped when they are old and captured. The days here are long past."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from psycopg2.errors import CheckViolation

from connectors.relay import Database, connector_status, resume, stop
from kernel import settings
from local.stack import Stack
from ops import outboxes
from ops.databases import admin, databases
from ops.outboxes import (
    DAYS_AHEAD,
    InUse,
    NotCaptured,
    keep_partitions,
    make_partitions,
    partitions,
)
from tests.stack.shop import eventually

pytestmark = pytest.mark.usefixtures("untold")

LONG_AGO = datetime(2020, 1, 10, 23, 59, 59, 999_999, UTC)
INSERT = """
INSERT INTO outbox (id, aggregatetype, aggregateid, type, version, payload, occurred_at)
VALUES (%s, 'untold', 'k', 'Happened', 1, '', %s)
"""


@pytest.fixture
def cursor(stack: Stack) -> Iterator[Any]:
    """The administrator's, with partitions for days long ago; without the chore that would drop them by itself."""
    stack.stop("keep")
    with admin(settings.admin_database_url()) as cursor:
        make_partitions(cursor, "orders", LONG_AGO)
        yield cursor
        keep_partitions()
    stack.start("keep")
    stack.wait_ready("keep")


@pytest.fixture
def outbox(stack: Stack) -> Iterator[Any]:
    connection = psycopg2.connect(settings.database_url("orders"))
    connection.autocommit = True
    yield connection.cursor()
    connection.close()


def old_days(cursor: Any) -> list[date]:
    return [day for day in partitions(cursor, "orders") if day.year == LONG_AGO.year]


def test_there_is_a_partition_for_every_day_from_yesterday_on(cursor: Any) -> None:
    days = old_days(cursor)
    assert days == [LONG_AGO.date() + timedelta(days=ahead) for ahead in range(-1, DAYS_AHEAD + 1)]


def test_the_last_moment_of_a_day_and_the_first_of_the_next_have_a_place(cursor: Any, outbox: Any) -> None:
    for moment in (LONG_AGO, LONG_AGO + timedelta(microseconds=1)):
        outbox.execute(INSERT, (str(uuid4()), moment))
    cursor.execute("SELECT count(*) FROM orders.outbox_20200110 UNION ALL SELECT count(*) FROM orders.outbox_20200111")
    assert cursor.fetchall() == [(1,), (1,)]


def test_what_is_captured_and_old_is_dropped_and_what_is_not_old_stays(cursor: Any, outbox: Any) -> None:
    outbox.execute(INSERT, (str(uuid4()), LONG_AGO))
    keep_partitions(LONG_AGO + timedelta(days=settings.outbox_days()))
    assert old_days(cursor)[0] == LONG_AGO.date()
    keep_partitions(LONG_AGO + timedelta(days=settings.outbox_days() + 1))
    assert old_days(cursor)[0] == LONG_AGO.date() + timedelta(days=1)


def test_nothing_is_dropped_before_it_is_captured(
    cursor: Any, outbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "await_captured", partial(outboxes.await_captured, timeout_s=1.0))
    [database] = databases()
    stop(settings.connect_url(), database)
    try:
        eventually(lambda: not is_read(cursor, database))
        outbox.execute(INSERT, (str(uuid4()), LONG_AGO))
        with pytest.raises(NotCaptured):
            keep_partitions()
        assert LONG_AGO.date() in old_days(cursor)
        with pytest.raises(CheckViolation):
            outbox.execute(INSERT, (str(uuid4()), LONG_AGO))
    finally:
        resume(settings.connect_url(), database)
    eventually(is_kept)
    assert old_days(cursor) == []


def test_a_partition_that_is_in_use_is_dropped_another_time(cursor: Any, stack: Stack) -> None:
    reader = psycopg2.connect(stack.layout.database_url("admin"))
    reader.cursor().execute("SELECT FROM orders.outbox_20200110")
    with pytest.raises(InUse):
        keep_partitions()
    assert old_days(cursor) == [LONG_AGO.date()]
    reader.close()
    keep_partitions()
    assert old_days(cursor) == []


def is_kept() -> bool:
    """Whether all could be done: a connector that starts is not yet one that goes on."""
    try:
        keep_partitions()
    except NotCaptured:
        return False
    return True


def is_read(cursor: Any, database: Database) -> bool:
    cursor.execute("SELECT active FROM pg_replication_slots WHERE slot_name = %s", (database.slot,))
    return bool(cursor.fetchone() == (True,)) and connector_status(settings.connect_url(), database).state == "RUNNING"
