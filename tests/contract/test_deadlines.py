"""Deadlines become commands once, in order, whoever carries them out and whatever befalls him: in PostgreSQL.

In a database that has the services' schemas, as the role of one of them.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from api.orders.store import Orders
from kernel import deadlines
from kernel.answers import AlreadyAnswered, Answer, Command
from kernel.clock import SYSTEM, Clock
from kernel.context import Context
from kernel.deadlines import Deadline, Due
from kernel.outbox import Outbox
from kernel.postgres import connect
from local.layout import Layout
from ops.databases import admin
from schemas import order
from schemas.event import Event
from schemas.order import OrderPlaced, OrderPlacedData
from streams.engine.timer import LOOK_S, MOST, Timer
from tests.contract.conftest import DATABASE
from tests.events import CODEC, PLACED, START
from tests.stack.shop import eventually

SOON, LATER = timedelta(seconds=1), timedelta(minutes=1)
Handle = Callable[[Cursor, Sequence[str], Context], None]


class Service:
    """A service whose deadlines have names of their own, and a table of what became of them."""

    def __init__(self, layout: Layout) -> None:
        self.url = layout.database_url("orders", DATABASE)
        self.admin_url = layout.database_url("admin", DATABASE)
        self.mine = uuid4().hex[:12]
        self.table = f"done_{self.mine}"
        self.now = START
        self._open: list[Any] = []
        with admin(self.admin_url) as cursor:
            columns = "number bigserial, name text, id text, unique (name, id)"
            cursor.execute(f"CREATE TABLE orders.{self.table} ({columns})")
            cursor.execute(f"GRANT SELECT, INSERT ON orders.{self.table} TO orders")
            cursor.execute(f"GRANT USAGE ON SEQUENCE orders.{self.table}_number_seq TO orders")

    def named(self, name: str) -> str:
        return f"{name}-{self.mine}"

    def connection(self) -> Connection:
        """In which nothing is committed unless the test does so."""
        connection = connect(self.url, "contract", 5, lock_timeout="5s")
        self._open.append(connection)
        return connection

    def timer(self, *names: str, handle: Handle | None = None, clock: Clock | None = None) -> Timer:
        """What carries these out, as of `now`; a handler in place of `record` may be given."""
        at = clock or Clock(lambda: self.now, SYSTEM.new_id)
        found = [Deadline(self.named(name), handle or self.record(name)) for name in names]
        timer = Timer(self.url, found, at)
        self._open.append(timer)
        return timer

    def record(self, name: str) -> Handle:
        """Writes down what it is told, once: the table takes nothing twice."""

        def handle(cursor: Cursor, ids: Sequence[str], context: Context) -> None:
            for each in ids:
                cursor.execute(f"INSERT INTO {self.table} (name, id) VALUES (%s, %s)", (name, each))

        return handle

    def set(self, name: str, ids: Sequence[str], due_at: datetime = START) -> None:
        with closing(connect(self.url, "contract", 5, lock_timeout="5s")) as connection, connection, connection.cursor() as cursor:
            for each in ids:
                deadlines.set_deadline(cursor, Due(each, self.named(name), due_at))

    def done(self) -> list[tuple[str, str]]:
        """The names and ids of those that have become commands, in the order in which they did."""
        return self._query(f"SELECT name, id FROM orders.{self.table} ORDER BY number")

    def left(self) -> list[tuple[Any, ...]]:
        """The ids, failures and errors of those that have not."""
        query = "SELECT aggregate_id, attempts, error FROM orders.deadline WHERE name LIKE %s ORDER BY due_at, 1"
        return self._query(query, f"%-{self.mine}")

    def pay_by(self, *order_ids: str) -> list[tuple[Any, ...]]:
        """Those of these orders that wait for an answer, and until when."""
        query = "SELECT aggregate_id, due_at FROM orders.deadline WHERE aggregate_id = ANY(%s) AND name = 'pay_by'"
        return self._query(query, list(order_ids))

    def close(self) -> None:
        for each in self._open:
            each.close()
        with admin(self.admin_url) as cursor:
            cursor.execute("DELETE FROM orders.deadline WHERE name LIKE %s", (f"%-{self.mine}",))
            cursor.execute(f"DROP TABLE orders.{self.table}")

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
    return [f"{each:03}" for each in range(number)]


def test_a_deadline_is_kept_with_the_transaction_that_sets_it(service: Service) -> None:
    connection = service.connection()
    with connection.cursor() as cursor:
        deadlines.set_deadline(cursor, Due("a", service.named("end"), START))
    assert service.left() == []
    connection.commit()
    assert service.left() == [("a", 0, None)]


def test_a_deadline_can_be_moved_and_cleared(service: Service) -> None:
    service.set("end", ["a", "b"])
    service.set("end", ["a"], START + LATER)
    with service.connection() as connection, connection.cursor() as cursor:
        deadlines.clear(cursor, service.named("end"), ["b", "another"])
    timer = service.timer("end")
    timer.run_due()
    assert (service.done(), service.left()) == ([], [("a", 0, None)])
    service.now += LATER
    timer.run_due()
    assert (service.done(), service.left()) == ([("end", "a")], [])


def test_an_order_is_placed_with_its_deadline_or_neither_is_there(service: Service) -> None:
    kept = Answer(Command("ada", "POST /v1/orders", service.mine, b""), 201, {}, b"")
    first, second = str(uuid4()), str(uuid4())
    connection = service.connection()
    connection.autocommit = True
    with connection.cursor() as cursor:
        orders = Orders(cursor, Outbox("orders", (order.TOPIC,), lambda: CODEC))
        orders.place(placed(first), kept, {})
        with pytest.raises(AlreadyAnswered):
            orders.place(placed(second), kept, {})
        assert service.pay_by(first, second) == [(first, START + LATER)]
        orders.clear("pay_by", [first, second])
    assert service.pay_by(first, second) == []


def placed(order_id: str) -> OrderPlaced:
    data = cast("OrderPlacedData", PLACED | {"order_id": order_id, "pay_by": START + LATER})
    return Event(str(uuid4()), "OrderPlaced", order_id, 1, START, data)


def test_nothing_becomes_a_command_before_it_is_due(service: Service) -> None:
    service.set("end", ["a"])
    timer = service.timer("end")
    service.now = START - timedelta(microseconds=1)
    assert 0 < timer.run_due() < LOOK_S
    assert service.done() == []
    service.now = START
    timer.run_due()
    assert service.done() == [("end", "a")]


def test_what_running_code_does_not_know_is_left_to_code_that_does(service: Service) -> None:
    service.set("new", ["a"])
    assert service.timer("end").run_due() == LOOK_S
    assert service.left() == [("a", 0, None)]


def test_of_one_aggregate_the_earlier_comes_first_and_the_later_waits_for_it(service: Service) -> None:
    service.set("end", ["a"], START + SOON)
    service.set("begin", ["a", "b"], START)
    service.now = START + LATER
    names = [service.named("begin"), service.named("end")]
    with service.connection() as one, one.cursor() as first, service.connection() as two, two.cursor() as second:
        claimed = deadlines.claim(first, names, service.now, MOST)
        assert sorted(each.aggregate_id for each in claimed) == ["a", "b"]
        assert {each.name for each in claimed} == {service.named("begin")}
        assert deadlines.claim(second, names, service.now, MOST) == []
    timer = service.timer("begin", "end")
    timer.run_due()
    timer.run_due()
    assert service.done() == [("begin", "a"), ("begin", "b"), ("end", "a")]


def test_two_who_claim_at_once_share_what_is_due_and_wait_for_nobody(service: Service) -> None:
    service.set("end", ids(4))
    names = [service.named("end")]
    with service.connection() as one, one.cursor() as first, service.connection() as two, two.cursor() as second:
        claimed = [deadlines.claim(cursor, names, START, 2) for cursor in (first, second)]
    assert sorted(each.aggregate_id for part in claimed for each in part) == ids(4)


def test_however_many_work_each_deadline_becomes_a_command_once_and_in_order(service: Service) -> None:
    service.set("begin", ids(150))
    service.set("end", ids(150), START + SOON)
    service.now = START + LATER
    timers = [service.timer("begin", "end") for _ in range(3)]
    threads = [threading.Thread(target=run_until, args=(timer, lambda: not service.left())) for timer in timers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    done = service.done()
    assert sorted(done) == sorted((name, each) for name in ("begin", "end") for each in ids(150))
    for each in ids(150):
        assert done.index(("begin", each)) < done.index(("end", each))


def run_until(timer: Timer, is_over: Callable[[], bool]) -> None:
    while not is_over():
        timer.run_due()


def test_a_command_that_fails_is_put_off_and_stops_no_other(service: Service) -> None:
    def handle(cursor: Cursor, mine: Sequence[str], context: Context) -> None:
        service.record("end")(cursor, mine, context)
        if "b" in mine:
            raise KeyError("poison\0")

    service.set("end", ["a", "b", "c"])
    timer = service.timer("end", handle=handle)
    timer.run_due()
    assert [each for _, each in service.done()] == ["a", "c"]
    assert service.left() == [("b", 1, "KeyError: 'poison\\x00'")]
    assert timer.run_due() > 0.0, "it is not tried again at once"
    service.now += deadlines.FIRST_PAUSE_S * SOON
    timer.run_due()
    assert [(each, failures) for each, failures, _ in service.left()] == [("b", 2)]
    service.now += LATER
    service.timer("end").run_due()
    assert ([each for _, each in service.done()], service.left()) == (["a", "c", "b"], [])


def test_an_aggregate_that_somebody_holds_for_long_delays_no_other(service: Service) -> None:
    def handle(cursor: Cursor, mine: Sequence[str], context: Context) -> None:
        service.record("end")(cursor, mine, context)

    service.set("end", ["a", "b"])
    holder = service.connection()
    with holder.cursor() as cursor:
        cursor.execute(f"INSERT INTO {service.table} (name, id) VALUES ('end', 'a')")
    service.timer("end", handle=handle).run_due()
    assert [each for _, each in service.done()] == ["b"]
    [(left, failures, error)] = service.left()
    assert (left, failures) == ("a", 1)
    assert "lock timeout" in error
    holder.rollback()


def test_a_command_may_set_the_next_deadline_of_its_name(service: Service) -> None:
    def handle(cursor: Cursor, mine: Sequence[str], context: Context) -> None:
        for each in mine:
            deadlines.set_deadline(cursor, Due(each, service.named("end"), context.now + SOON))

    service.set("end", ["a"])
    service.timer("end", handle=handle).run_due()
    assert service.left() == [("a", 0, None)]
    service.timer("end").run_due()
    assert service.done() == []


def test_one_who_dies_over_a_claim_gives_it_up_at_once(service: Service) -> None:
    service.set("end", ["a"])
    dead = service.connection()
    with dead.cursor() as cursor:
        assert deadlines.claim(cursor, [service.named("end")], START, MOST)
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()
    timer = service.timer("end")
    timer.run_due()
    assert service.done() == []
    dead.close()
    with admin(service.admin_url) as cursor:
        eventually(lambda: cursor.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (pid,)) or not cursor.rowcount)
    timer.run_due()
    assert service.done() == [("end", "a")]


def test_one_who_stands_still_over_a_claim_loses_it_within_five_seconds(service: Service) -> None:
    goes_on = threading.Event()
    claimed = threading.Event()

    def handle(cursor: Cursor, mine: Sequence[str], context: Context) -> None:
        claimed.set()
        goes_on.wait(30)
        service.record("end")(cursor, mine, context)

    service.set("end", ["a"])
    still = service.timer("end", handle=handle)
    failure: list[BaseException] = []

    def stand_still() -> None:
        try:
            still.run_due()
        except psycopg2.Error as error:
            failure.append(error)

    thread = threading.Thread(target=stand_still)
    thread.start()
    assert claimed.wait(10)
    since = datetime.now(UTC)
    timer = service.timer("end")
    eventually(lambda: timer.run_due() and service.done())
    assert datetime.now(UTC) - since < timedelta(seconds=5)
    goes_on.set()
    thread.join(10)
    assert failure, "what it does when it wakes up is refused"
    assert service.done() == [("end", "a")]


def test_a_timer_works_in_a_thread_of_its_own_and_through_the_loss_of_its_connection(service: Service) -> None:
    timer = service.timer("end", clock=SYSTEM)
    timer.start()
    try:
        service.set("end", ["a"], datetime.now(UTC))
        eventually(lambda: service.done() == [("end", "a")])
        with admin(service.admin_url) as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'deadlines'")
        service.set("end", ["b"], datetime.now(UTC))
        eventually(lambda: len(service.done()) == 2)
    finally:
        timer.stop()
        timer.join(10)
