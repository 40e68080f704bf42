"""Tasks: leased, tried again, given up, and answered once, whoever answers and however late: in PostgreSQL.

In a database that has the services' schemas, as the role of one of them.
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from kernel import tasks
from kernel.postgres import connect
from kernel.tasks import LONGEST_PAUSE_S, MOST_ATTEMPTS, Task, Unanswered
from local.layout import Layout
from ops import due, old
from ops.databases import admin
from tests.contract.conftest import DATABASE
from tests.events import START

LEASE_S = 10.0
LEASE = timedelta(seconds=LEASE_S)
PAUSE = timedelta(seconds=LONGEST_PAUSE_S)
SECOND = timedelta(seconds=1)


@pytest.fixture
def kind(layout: Layout) -> Iterator[str]:
    """A kind of tasks of the test's own."""
    url = layout.database_url("admin", DATABASE)
    kind = f"contract-{uuid4().hex[:12]}"
    yield kind
    with admin(url) as cursor:
        cursor.execute("DELETE FROM orders.task WHERE kind LIKE %s", (f"{kind}%",))


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
    tasks.ask(cursor, [Task(each, kind, {"amount_minor": 7}) for each in ids], START)
    return ids


def claim(cursor: Cursor, kind: str, now: datetime, number: int = 1, lease_s: float = LEASE_S) -> list[Task]:
    return tasks.claim(cursor, {kind: (number, lease_s)}, now)


def done(cursor: Cursor, task_id: str) -> bool:
    return tasks.done(cursor, [task_id], START).keys() == {task_id}


def fail(cursor: Cursor, task: Task, error: str, now: datetime) -> bool:
    failed = Unanswered(task, error, is_given_up=task.attempts >= MOST_ATTEMPTS)
    return tasks.put_off(cursor, [failed], now) == {task.id}


def waiting(layout: Layout, kind: str) -> list[tuple[str, int, str | None]]:
    """The state, number and error of the kind's tasks, as `status` tells them."""
    url = layout.database_url("admin", DATABASE)
    with admin(url) as cursor:
        found = due._of(cursor, "task", "orders", due._TASKS, START)  # noqa: SLF001  # of a database beside the services'
    return [(each.state, each.number, each.error) for each in found if each.name == kind]


def test_a_task_is_there_once_the_transaction_that_asks_for_it_commits(layout: Layout, kind: str, cursor: Cursor) -> None:
    with closing(open_connection(layout)) as asker, asker.cursor() as its:
        [task_id] = asked(its, kind)
        assert claim(cursor, kind, START, 10) == []
        asker.commit()
    assert claim(cursor, "another", START, 10) == []
    assert claim(cursor, kind, START, 10) == [Task(task_id, kind, {"amount_minor": 7}, 1)]


def test_a_task_that_is_asked_for_twice_is_one_whatever_has_become_of_it(kind: str, cursor: Cursor) -> None:
    [task_id] = asked(cursor, kind)
    tasks.ask(cursor, [Task(task_id, kind, {"amount_minor": 8})], START)
    [task] = claim(cursor, kind, START, 10)
    assert task.arguments == {"amount_minor": 7}
    assert done(cursor, task_id)
    asked(cursor, kind)
    assert claim(cursor, kind, START + LEASE, 10) == []


def test_a_task_keeps_the_trace_of_what_asked_for_it_until_its_answer(kind: str, cursor: Cursor) -> None:
    tasks.ask(cursor, [Task(f"{kind}-traced", kind, {}, traceparent="00-aa-bb-01")], START)
    [task] = claim(cursor, kind, START, 10)
    assert task.traceparent == "00-aa-bb-01"
    assert tasks.done(cursor, [task.id], START) == {task.id: "00-aa-bb-01"}


def test_two_who_claim_at_once_share_the_tasks_and_wait_for_nobody(layout: Layout, kind: str, cursor: Cursor) -> None:
    ids = asked(cursor, kind, 4)
    with closing(open_connection(layout)) as other, other.cursor() as second:
        first = claim(second, kind, START, 2)  # not committed yet
        assert sorted(task.id for task in [*first, *claim(cursor, kind, START, 4)]) == ids


def test_a_task_is_nobody_elses_until_its_lease_runs_out(kind: str, cursor: Cursor) -> None:
    [task_id] = asked(cursor, kind)
    assert claim(cursor, kind, START)
    assert claim(cursor, kind, START + LEASE - timedelta(microseconds=1)) == []
    [again] = claim(cursor, kind, START + LEASE)
    assert (again.id, again.attempts) == (task_id, 2)


def test_an_answer_is_recorded_once_by_the_tasks_id_whoever_brings_it(kind: str, cursor: Cursor) -> None:
    asked(cursor, kind)
    [late] = claim(cursor, kind, START)
    [second] = claim(cursor, kind, START + LEASE)
    assert done(cursor, late.id), "though its lease has run out"
    assert not done(cursor, second.id)
    fail(cursor, second, "too late", START + LEASE)
    assert claim(cursor, kind, START + 2 * LEASE + PAUSE) == []
    assert not done(cursor, "never asked for")


def test_a_failure_that_comes_late_disturbs_nobody(layout: Layout, kind: str, cursor: Cursor) -> None:
    asked(cursor, kind)
    [late] = claim(cursor, kind, START)
    assert claim(cursor, kind, START + LEASE, lease_s=10 * LEASE_S)
    fail(cursor, late, "timeout", START + LEASE)
    assert claim(cursor, kind, START + 2 * LEASE) == []
    assert waiting(layout, kind) == [("at work or resting", 1, None)]


def test_a_task_that_fails_is_tried_again_after_a_pause(layout: Layout, kind: str, cursor: Cursor) -> None:
    asked(cursor, kind)
    [task] = claim(cursor, kind, START)
    fail(cursor, task, "503", START)
    assert claim(cursor, kind, START) == []
    assert waiting(layout, kind) == [("at work or resting", 1, "503")]
    [again] = claim(cursor, kind, START + timedelta(seconds=tasks.FIRST_PAUSE_S))
    assert again.attempts == 2


def test_a_task_is_given_up_after_so_many_failures_and_a_late_answer_still_counts(
    layout: Layout, kind: str, cursor: Cursor
) -> None:
    asked(cursor, kind)
    now = START
    for attempt in range(1, MOST_ATTEMPTS + 1):
        [task] = claim(cursor, kind, now)
        assert task.attempts == attempt
        fail(cursor, task, "503", now)
        now += PAUSE
    assert claim(cursor, kind, now) == []
    assert waiting(layout, kind) == [("given up", 1, "503")]
    assert done(cursor, task.id)
    assert waiting(layout, kind) == []


def test_a_task_whose_every_lease_runs_out_is_taken_once_more_to_be_given_up(layout: Layout, kind: str, cursor: Cursor) -> None:
    asked(cursor, kind)
    for attempt in range(MOST_ATTEMPTS):
        [task] = claim(cursor, kind, START + attempt * LEASE)
        assert not task.is_spent
    [spent] = claim(cursor, kind, START + MOST_ATTEMPTS * LEASE)
    assert spent.is_spent
    assert fail(cursor, spent, "no word", START)
    assert claim(cursor, kind, START + MOST_ATTEMPTS * LEASE + PAUSE) == []
    assert waiting(layout, kind) == [("given up", 1, "no word")]


def test_a_call_that_was_not_tried_rests_and_its_attempt_does_not_count(layout: Layout, kind: str, cursor: Cursor) -> None:
    asked(cursor, kind)
    for attempt in range(MOST_ATTEMPTS + 2):
        [task] = claim(cursor, kind, START + attempt * SECOND)
        assert task.attempts == 1
        tasks.postpone(cursor, [(task, "the breaker is open")], START + attempt * SECOND)
        assert claim(cursor, kind, START + attempt * SECOND) == []
    assert waiting(layout, kind) == [("at work or resting", 1, "the breaker is open")]


def test_a_call_that_was_given_up_is_made_again_once_somebody_wants_it(kind: str, cursor: Cursor) -> None:
    [task_id] = asked(cursor, kind)
    assert not tasks.retry(cursor, task_id, START), "nobody has given it up"
    [task] = claim(cursor, kind, START)
    assert tasks.put_off(cursor, [Unanswered(task, "503", is_given_up=True)], START)
    assert claim(cursor, kind, START + PAUSE) == []
    assert tasks.retry(cursor, task_id, START)
    assert [each.attempts for each in claim(cursor, kind, START)] == [1]
    assert done(cursor, task_id)
    assert not tasks.retry(cursor, task_id, START), "it is done"


def test_what_is_done_is_deleted_later_and_nothing_else_ever(
    layout: Layout, kind: str, cursor: Cursor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(old, "_SLICE", 2)
    *recorded, given_up, waits = asked(cursor, kind, 7)
    claimed = {task.id: task for task in claim(cursor, kind, START, 7)}
    tasks.put_off(cursor, [Unanswered(claimed[given_up], "503", is_given_up=True)], START)
    tasks.done(cursor, recorded[:-1], START)
    tasks.done(cursor, recorded[-1:], START + SECOND)
    [kept] = [each for each in old._KEPT if each.table == "task"]  # noqa: SLF001  # of a database beside the services'
    with admin(layout.database_url("admin", DATABASE)) as housekeeper:
        old._forget(housekeeper, "orders", kept, START + SECOND)  # noqa: SLF001
        housekeeper.execute("SELECT id FROM orders.task WHERE kind = %s ORDER BY id", (kind,))
        assert [task_id for (task_id,) in housekeeper.fetchall()] == [recorded[-1], given_up, waits]


def test_of_each_kind_as_many_are_claimed_as_there_is_room_for(kind: str, cursor: Cursor) -> None:
    asked(cursor, kind, 3)
    wanted = [Task(f"{kind}-other-{number}", f"{kind}-other", {}) for number in range(3)]
    tasks.ask(cursor, wanted, START)
    found = tasks.claim(cursor, {kind: (1, LEASE_S), f"{kind}-other": (2, 2 * LEASE_S)}, START)
    assert sorted(task.kind for task in found) == [kind, f"{kind}-other", f"{kind}-other"]
    again = {task.kind for task in tasks.claim(cursor, {kind: (9, LEASE_S), f"{kind}-other": (1, LEASE_S)}, START + LEASE)}
    assert again == {kind, f"{kind}-other"}, "the third of the other kind; the leases of its first two go on"


def test_several_answers_are_recorded_at_once_and_only_the_first_of_each(kind: str, cursor: Cursor) -> None:
    first, second, third = asked(cursor, kind, 3)
    assert tasks.done(cursor, [first], START).keys() == {first}
    assert tasks.done(cursor, [third, first, second], START).keys() == {second, third}
