"""Tasks: leased, tried again, given up, and answered once, whoever answers and however late: in PostgreSQL.

In a database that has the services' schemas, as the role of one of them.
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from uuid import uuid4

import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from kernel import tasks
from kernel.postgres import connect
from kernel.tasks import LONGEST_PAUSE_S, MOST_ATTEMPTS, Task
from local.layout import Layout
from ops import due
from ops.databases import admin
from tests.contract.conftest import DATABASE
from tests.events import START

LEASE_S = 10.0
LEASE = timedelta(seconds=LEASE_S)
PAUSE = timedelta(seconds=LONGEST_PAUSE_S)


@pytest.fixture
def kind(layout: Layout) -> Iterator[str]:
    """A kind of tasks of the test's own."""
    url = layout.database_url("admin", DATABASE)
    kind = f"contract-{uuid4().hex[:12]}"
    yield kind
    with admin(url) as cursor:
        cursor.execute("DELETE FROM orders.task WHERE kind = %s", (kind,))


def open_connection(layout: Layout) -> Connection:
    return connect(layout.database_url("orders", DATABASE), "contract", 5, lock_timeout="5s")


@pytest.fixture
def cursor(layout: Layout) -> Iterator[Cursor]:
    """Each statement is committed at once."""
    with closing(open_connection(layout)) as connection:
        connection.autocommit = True
        yield connection.cursor()


def asked(cursor: Cursor, kind: str, number: int = 1) -> list[str]:
    ids = [f"{kind}-{each}" for each in range(number)]
    for each in ids:
        tasks.ask(cursor, each, kind, {"amount_minor": 7}, START)
    return ids


def waiting(layout: Layout, kind: str) -> list[tuple[str, int, str | None]]:
    """The state, number and error of the kind's tasks, as `status` tells them."""
    url = layout.database_url("admin", DATABASE)
    with admin(url) as cursor:
        found = due._of(cursor, "task", "orders", due._TASKS, START)  # noqa: SLF001  # of a database beside the services'
    return [(each.state, each.number, each.error) for each in found if each.name == kind]


def test_a_task_is_there_once_the_transaction_that_asks_for_it_commits(layout: Layout, kind: str, cursor: Cursor) -> None:
    with closing(open_connection(layout)) as asker, asker.cursor() as its:
        [task_id] = asked(its, kind)
        assert tasks.claim(cursor, [kind], START, LEASE_S, 10) == []
        asker.commit()
    assert tasks.claim(cursor, ["another"], START, LEASE_S, 10) == []
    assert tasks.claim(cursor, [kind], START, LEASE_S, 10) == [Task(task_id, kind, {"amount_minor": 7}, 1)]


def test_a_task_that_is_asked_for_twice_is_one_whatever_has_become_of_it(kind: str, cursor: Cursor) -> None:
    [task_id] = asked(cursor, kind)
    tasks.ask(cursor, task_id, kind, {"amount_minor": 8}, START)
    [task] = tasks.claim(cursor, [kind], START, LEASE_S, 10)
    assert task.arguments == {"amount_minor": 7}
    assert tasks.done(cursor, task_id)
    asked(cursor, kind)
    assert tasks.claim(cursor, [kind], START + LEASE, LEASE_S, 10) == []


def test_two_who_claim_at_once_share_the_tasks_and_wait_for_nobody(layout: Layout, kind: str, cursor: Cursor) -> None:
    ids = asked(cursor, kind, 4)
    with closing(open_connection(layout)) as other, other.cursor() as second:
        first = tasks.claim(second, [kind], START, LEASE_S, 2)  # not committed yet
        assert sorted(task.id for task in [*first, *tasks.claim(cursor, [kind], START, LEASE_S, 4)]) == ids


def test_a_task_is_nobody_elses_until_its_lease_runs_out(kind: str, cursor: Cursor) -> None:
    [task_id] = asked(cursor, kind)
    assert tasks.claim(cursor, [kind], START, LEASE_S, 1)
    assert tasks.claim(cursor, [kind], START + LEASE - timedelta(microseconds=1), LEASE_S, 1) == []
    [again] = tasks.claim(cursor, [kind], START + LEASE, LEASE_S, 1)
    assert (again.id, again.attempts) == (task_id, 2)


def test_an_answer_is_recorded_once_by_the_tasks_id_whoever_brings_it(kind: str, cursor: Cursor) -> None:
    asked(cursor, kind)
    [late] = tasks.claim(cursor, [kind], START, LEASE_S, 1)
    [second] = tasks.claim(cursor, [kind], START + LEASE, LEASE_S, 1)
    assert tasks.done(cursor, late.id), "though its lease has run out"
    assert not tasks.done(cursor, second.id)
    tasks.failed(cursor, second, "too late", START + LEASE)
    assert tasks.claim(cursor, [kind], START + 2 * LEASE + PAUSE, LEASE_S, 1) == []
    assert not tasks.done(cursor, "never asked for")


def test_a_failure_that_comes_late_disturbs_nobody(layout: Layout, kind: str, cursor: Cursor) -> None:
    asked(cursor, kind)
    [late] = tasks.claim(cursor, [kind], START, LEASE_S, 1)
    assert tasks.claim(cursor, [kind], START + LEASE, 10 * LEASE_S, 1)
    tasks.failed(cursor, late, "timeout", START + LEASE)
    assert tasks.claim(cursor, [kind], START + 2 * LEASE, LEASE_S, 1) == []
    assert waiting(layout, kind) == [("at work or resting", 1, None)]


def test_a_task_that_fails_is_tried_again_after_a_pause(layout: Layout, kind: str, cursor: Cursor) -> None:
    asked(cursor, kind)
    [task] = tasks.claim(cursor, [kind], START, LEASE_S, 1)
    tasks.failed(cursor, task, "503", START)
    assert tasks.claim(cursor, [kind], START, LEASE_S, 1) == []
    assert waiting(layout, kind) == [("at work or resting", 1, "503")]
    [again] = tasks.claim(cursor, [kind], START + timedelta(seconds=tasks.FIRST_PAUSE_S), LEASE_S, 1)
    assert again.attempts == 2


def test_a_task_is_given_up_after_so_many_failures_and_a_late_answer_still_counts(
    layout: Layout, kind: str, cursor: Cursor
) -> None:
    asked(cursor, kind)
    now = START
    for attempt in range(1, MOST_ATTEMPTS + 1):
        [task] = tasks.claim(cursor, [kind], now, LEASE_S, 1)
        assert task.attempts == attempt
        tasks.failed(cursor, task, "503", now)
        now += PAUSE
    assert tasks.claim(cursor, [kind], now, LEASE_S, 1) == []
    assert waiting(layout, kind) == [("given up", 1, "503")]
    assert tasks.done(cursor, task.id)
    assert waiting(layout, kind) == []


def test_a_task_whose_every_lease_runs_out_is_given_up(layout: Layout, kind: str, cursor: Cursor) -> None:
    asked(cursor, kind)
    for attempt in range(MOST_ATTEMPTS):
        assert tasks.claim(cursor, [kind], START + attempt * LEASE, LEASE_S, 1)
    assert tasks.claim(cursor, [kind], START + MOST_ATTEMPTS * LEASE, LEASE_S, 1) == []
    assert waiting(layout, kind) == [("given up", 1, None)]
