"""Tasks become calls, and each answer is recorded once, whoever makes them and whatever befalls him: in PostgreSQL."""

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from psycopg2.extensions import cursor as Cursor

from kernel import tasks
from kernel.clock import SYSTEM, Clock
from kernel.context import Context
from kernel.postgres import connect
from kernel.settings import MissingSetting
from kernel.tasks import LONGEST_PAUSE_S, MOST_ATTEMPTS, Answered, Call, NoAnswer, NotTried, Task, Unanswered
from local.layout import Layout
from ops.databases import admin
from streams.engine import caller as callers
from streams.engine.caller import Caller
from tests.contract.conftest import DATABASE
from tests.events import START
from tests.stack.shop import eventually

LEASE_S = 30.0
LATER = timedelta(seconds=LONGEST_PAUSE_S)


class Outside:
    """Somebody who is called: answers with the id unless told otherwise; whoever is held waits until he is let go."""

    def __init__(self) -> None:
        self.failures: dict[str, Exception] = {}
        self.called: list[str] = []
        self.held: dict[str, threading.Event] = {}
        self.busy = self.most_busy = 0
        self._lock = threading.Lock()

    def hold(self, task_id: str) -> threading.Event:
        return self.held.setdefault(task_id, threading.Event())

    def __call__(self, task: Task) -> str:
        with self._lock:
            self.called.append(task.id)
            self.busy += 1
            self.most_busy = max(self.busy, self.most_busy)
        if task.id in self.held:
            assert self.held[task.id].wait(30)
        with self._lock:
            self.busy -= 1
        if task.id in self.failures:
            raise self.failures[task.id]
        return f"answer to {task.id}"


class Service:
    """A service whose calls have kinds of their own, and a table of what it was told."""

    def __init__(self, layout: Layout) -> None:
        self.url = layout.database_url("orders", DATABASE)
        self.admin_url = layout.database_url("admin", DATABASE)
        self.mine = uuid4().hex[:12]
        self.table = f"told_{self.mine}"
        self.now = START
        self.outside = Outside()
        self.awake = threading.Event()
        self.poison: set[str] = set()
        self.deaf: set[str] = set()
        self._open: list[Any] = []
        with admin(self.admin_url) as cursor:
            columns = "number bigserial, id text, told text, transaction bigint DEFAULT txid_current()"
            cursor.execute(f"CREATE TABLE orders.{self.table} ({columns})")
            cursor.execute(f"GRANT SELECT, INSERT ON orders.{self.table} TO orders")
            cursor.execute(f"GRANT USAGE ON SEQUENCE orders.{self.table}_number_seq TO orders")

    def kind(self, name: str) -> str:
        return f"{name}-{self.mine}"

    def caller(self, *names: str, threads: int = 4, lease_s: float = LEASE_S) -> Caller:
        calls = [
            Call(self.kind(name), lambda setting: self.outside, self.record, self.unanswered, (), (), lease_s, threads)
            for name in names or ("pay",)
        ]
        caller = Caller(self.url, calls, os.environ.__getitem__, Clock(lambda: self.now, SYSTEM.new_id), self.awake)
        self._open.append(caller)
        return caller

    def record(self, cursor: Cursor, answered: Sequence[Answered], context: Context) -> None:
        for task, answer in answered:
            self._tell(cursor, task, str(answer))
            if task.id in self.poison:
                raise KeyError(task.id)

    def unanswered(self, cursor: Cursor, unanswered: Sequence[Unanswered], context: Context) -> None:
        for task, error, is_given_up in unanswered:
            if task.id in self.deaf:
                raise KeyError(task.id)
            self._tell(cursor, task, f"given up: {error}" if is_given_up else error)

    def ask(self, *ids: str, name: str = "pay") -> None:
        with self.cursor() as cursor:
            tasks.ask(cursor, [Task(each, self.kind(name), {}) for each in ids], self.now)

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """A transaction of the service's."""
        with closing(connect(self.url, "contract", 5, lock_timeout="5s")) as connection, connection, connection.cursor() as cursor:
            yield cursor

    def told(self) -> list[tuple[str, str]]:
        """What the service was told of which task, in order."""
        return self._query(f"SELECT id, told FROM orders.{self.table} ORDER BY number")

    def transactions(self) -> list[int]:
        return [number for (number,) in self._query(f"SELECT DISTINCT transaction FROM orders.{self.table}")]

    def states(self) -> dict[str, tuple[str, int, str | None]]:
        """State, attempts and error of each task."""
        query = "SELECT id, state, attempts, error FROM orders.task WHERE kind LIKE %s"
        return {each[0]: each[1:] for each in self._query(query, f"%-{self.mine}")}

    def run_until(self, caller: Caller, is_over: Callable[[], Any]) -> None:
        def look() -> Any:
            caller.run_due()
            return is_over()

        eventually(look)

    def try_each_time(self, caller: Caller, task_id: str, number: int) -> None:
        """So many more tries, each when it may be."""
        before = self.outside.called.count(task_id)
        for attempt in range(1, number + 1):
            self.run_until(caller, lambda: self.outside.called.count(task_id) == before + attempt)  # noqa: B023
            self.run_until(caller, caller._is_idle)  # noqa: SLF001  # what has come back is recorded
            self.now += LATER

    def close(self) -> None:
        for held in self.outside.held.values():
            held.set()
        for each in self._open:
            each.close()
        with admin(self.admin_url) as cursor:
            cursor.execute("DELETE FROM orders.task WHERE kind LIKE %s", (f"%-{self.mine}",))
            cursor.execute(f"DROP TABLE orders.{self.table}")

    def _tell(self, cursor: Cursor, task: Task, told: str) -> None:
        cursor.execute(f"INSERT INTO {self.table} (id, told) VALUES (%s, %s)", (task.id, told))

    def _query(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with admin(self.admin_url) as cursor:
            cursor.execute(query, parameters)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows


@pytest.fixture
def service(layout: Layout) -> Iterator[Service]:
    with closing(Service(layout)) as service:
        yield service


def ids(number: int) -> list[str]:
    prefix = uuid4().hex[:8]
    return [f"{prefix}.{each:02}" for each in range(number)]


def test_a_call_is_made_and_its_answer_recorded_in_the_transaction_that_ends_the_task(service: Service) -> None:
    [task_id] = ids(1)
    service.ask(task_id)
    service.run_until(service.caller(), service.told)
    assert service.told() == [(task_id, f"answer to {task_id}")]
    assert service.states() == {task_id: ("done", 1, None)}


def test_answers_that_come_back_together_are_recorded_together(service: Service) -> None:
    mine = ids(4)
    service.ask(*mine)
    caller = service.caller()
    caller.run_due()
    eventually(lambda: caller._returned.qsize() == 4)  # noqa: SLF001  # all have come back
    caller.run_due()
    assert sorted(task_id for task_id, _ in service.told()) == mine
    assert len(service.transactions()) == 1


def test_an_answer_that_can_not_be_recorded_is_put_off_and_stops_no_other(service: Service) -> None:
    mine = good, bad, fine = ids(3)
    service.poison = {bad}
    service.ask(*mine)
    caller = service.caller()
    service.run_until(caller, lambda: len(service.told()) == 2)
    assert sorted(task_id for task_id, _ in service.told()) == sorted([good, fine])
    service.run_until(caller, lambda: service.states()[bad][2])
    assert service.states()[bad] == ("waiting", 1, f"KeyError: '{bad}'")
    service.poison, service.now = set(), service.now + LATER
    service.run_until(caller, lambda: len(service.told()) == 3)
    assert service.states()[bad] == ("done", 2, None)


def test_a_call_without_an_answer_is_made_again_and_its_service_is_told_each_time_and_at_last_that_it_is_given_up(
    service: Service,
) -> None:
    [task_id] = ids(1)
    service.outside.failures[task_id] = NoAnswer("timeout")
    service.ask(task_id)
    service.try_each_time(service.caller(), task_id, MOST_ATTEMPTS)
    said = "NoAnswer: timeout"
    assert service.told() == [(task_id, said)] * (MOST_ATTEMPTS - 1) + [(task_id, f"given up: {said}")]
    assert service.states()[task_id] == ("given up", MOST_ATTEMPTS, said)


def test_a_call_that_was_not_tried_counts_for_nothing_and_others_of_its_kind_rest_with_it(service: Service) -> None:
    first, second, third = ids(3)
    service.outside.failures[first] = NotTried("the breaker is open")
    service.ask(first)
    caller = service.caller("pay", "ship")
    service.run_until(caller, lambda: service.states()[first][2])
    service.ask(second)
    service.ask(third, name="ship")
    service.run_until(caller, lambda: service.told() == [(third, f"answer to {third}")])
    assert service.outside.called == [first, third]
    assert service.states()[first] == ("waiting", 0, "NotTried: the breaker is open")
    service.run_until(caller, lambda: second in service.outside.called)


def test_a_call_that_fails_by_our_own_fault_is_put_off_and_told_of_once_it_is_given_up(service: Service) -> None:
    [task_id] = ids(1)
    service.outside.failures[task_id] = KeyError("amount\0")
    service.ask(task_id)
    caller = service.caller()
    service.try_each_time(caller, task_id, MOST_ATTEMPTS - 1)
    said = "KeyError: 'amount\\x00'"
    assert service.states()[task_id] == ("waiting", MOST_ATTEMPTS - 1, said)
    assert service.told() == []
    service.try_each_time(caller, task_id, 1)
    assert service.told() == [(task_id, f"given up: {said}")]


def test_no_task_is_given_up_before_its_service_knows(service: Service) -> None:
    [task_id] = ids(1)
    service.outside.failures[task_id] = NoAnswer("timeout")
    service.deaf = {task_id}
    service.ask(task_id)
    caller = service.caller()
    service.try_each_time(caller, task_id, MOST_ATTEMPTS)
    assert service.states()[task_id] == ("waiting", MOST_ATTEMPTS, f"KeyError: '{task_id}'")
    service.deaf = set()
    service.run_until(caller, service.told)
    assert service.states()[task_id][0] == "given up"
    assert service.outside.called == [task_id] * MOST_ATTEMPTS, "it is told of without one more call"


def test_at_most_so_many_calls_of_a_kind_are_made_at_once_and_no_other_kind_waits_for_them(service: Service) -> None:
    slow, [quick] = ids(3), ids(1)
    for each in slow:
        service.outside.hold(each)
    service.ask(*slow)
    caller = service.caller("pay", "ship", threads=2)
    service.run_until(caller, lambda: service.outside.busy == 2)
    service.ask(quick, name="ship")
    service.run_until(caller, lambda: service.told() == [(quick, f"answer to {quick}")])
    assert len([each for each in service.outside.called if each in slow]) == 2
    for each in slow:
        service.outside.hold(each).set()
    service.run_until(caller, lambda: len(service.told()) == 4)
    assert service.outside.most_busy <= 3


def test_an_answer_that_comes_after_its_lease_is_recorded_and_the_one_that_comes_after_that_is_not(
    service: Service,
) -> None:
    [task_id] = ids(1)
    held = service.outside.hold(task_id)
    service.ask(task_id)
    late, other = service.caller(), service.caller()
    late.run_due()
    eventually(lambda: service.outside.busy == 1)
    service.now += timedelta(seconds=LEASE_S)
    service.run_until(other, lambda: service.outside.busy == 2)
    held.set()
    service.run_until(late, service.told)
    service.run_until(other, other._is_idle)  # noqa: SLF001  # what it was answered has come back
    assert service.told() == [(task_id, f"answer to {task_id}")]


def test_a_failure_after_its_lease_is_not_told(service: Service) -> None:
    [task_id] = ids(1)
    held = service.outside.hold(task_id)
    service.outside.failures[task_id] = NoAnswer("timeout")
    service.ask(task_id)
    late = service.caller()
    late.run_due()
    service.now += timedelta(seconds=LEASE_S)
    with service.cursor() as cursor:
        assert tasks.claim(cursor, {service.kind("pay"): (1, LEASE_S)}, service.now)
    held.set()
    service.run_until(late, late._is_idle)  # noqa: SLF001
    assert service.told() == []


def test_however_many_work_each_answer_is_recorded_once(service: Service) -> None:
    mine = ids(60)
    for name in ("pay", "ship"):
        service.ask(*(f"{each}-{name}" for each in mine), name=name)
    found = [service.caller("pay", "ship") for _ in range(3)]
    for each in found:
        each.start()
    eventually(lambda: len(service.told()) >= 120)
    for each in found:
        each.stop()
        each.join(10)
    counts: dict[str, int] = defaultdict(int)
    for task_id, _ in service.told():
        counts[task_id] += 1
    assert counts == dict.fromkeys([f"{each}-{name}" for each in mine for name in ("pay", "ship")], 1)
    assert {state for state, _, _ in service.states().values()} == {"done"}


def test_whoever_is_woken_looks_at_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "LOOK_S", 60.0)
    [task_id] = ids(1)
    caller = service.caller()
    caller.start()
    service.ask(task_id)
    service.awake.set()
    eventually(service.told)
    caller.stop()
    caller.join(10)


def test_what_is_under_way_when_it_is_stopped_is_recorded_and_nothing_more_is_begun(service: Service) -> None:
    first, second = ids(2)
    held = service.outside.hold(first)
    service.ask(first)
    caller = service.caller(threads=1)
    caller.start()
    eventually(lambda: service.outside.busy == 1)
    service.ask(second)
    caller.stop()
    eventually(lambda: not service.awake.is_set())  # it has looked once more
    held.set()
    caller.join(10)
    assert service.told() == [(first, f"answer to {first}")]
    assert service.outside.called == [first]


def test_an_answer_outlasts_the_loss_of_the_connection(service: Service) -> None:
    [task_id] = ids(1)
    held = service.outside.hold(task_id)
    service.ask(task_id)
    caller = service.caller()
    caller.start()
    eventually(lambda: service.outside.busy == 1)
    with admin(service.admin_url) as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'calls'")
    held.set()
    eventually(lambda: service.told() == [(task_id, f"answer to {task_id}")])
    assert service.outside.called == [task_id]
    caller.stop()
    caller.join(10)


def test_without_a_setting_that_a_call_needs_nothing_starts(service: Service) -> None:
    def setting(name: str) -> str:
        raise MissingSetting(name)

    call = Call("pay", lambda read: read("PROVIDER_KEY"), service.record, service.unanswered)  # type: ignore[arg-type, return-value]
    with pytest.raises(MissingSetting, match="PROVIDER_KEY"):
        Caller(service.url, [call], setting, SYSTEM, service.awake)
