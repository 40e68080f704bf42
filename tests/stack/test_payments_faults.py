"""The companies, the services that ask them and those who carry the answers die, again and again: money and goods come right."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from random import Random
from threading import Event, Thread
from typing import Any

import orjson
import requests
from redis.exceptions import RedisError

from api.payments.provider import Entry
from demo.placing import Order, Tally, order, place, steadily
from demo.provider.cards import CARDS, DAY_S
from kernel import settings
from local.stack import Stack
from ops.databases import admin
from ops.positions import parked
from ops.verify import verify
from streams.engine.reader import Views
from tests.stack.shop import eventually
from tests.stack.whole import House, misfits, steps

SEED, ORDERS, PER_S = 20_260_105, 500, 12.0
WORKERS = ("worker-1", "worker-2")
VICTIMS = ("payments", "shipping", "provider", "carrier", *WORKERS)
#: Seconds between two that are killed, and for which all may take to come right.
PAUSE_S, PATIENCE_S = (1.0, 4.0), 240.0
#: How often customers change their mind about all or about a unit, and the carrier loses a parcel, or contradicts itself.
CANCELS, STOPS, LOSES, CONTRADICTS = 0.15, 0.1, 0.05, 0.05
_LOST = {"what": "lost", "after_s": 0}

Rows = Mapping[str, dict[str, Any]]


class People:
    """Customers who change their mind, and staff who pack and hand over, until they are stopped."""

    def __init__(self, order_ids: list[str], random: Random) -> None:
        self.house = House()
        self._order_ids, self._random = order_ids, random
        self._views = Views(settings.redis_url(), settings.partitions())
        self._is_over = Event()
        self._seen = 0
        self._pool = ThreadPoolExecutor(4)
        self._thread = Thread(target=self._work)
        self._thread.start()

    def rows(self, view: str) -> Rows:
        """What a view has of the orders."""
        ids = [*self._order_ids]
        return {id_: orjson.loads(row) for id_, row in zip(ids, self._views.many(view, ids), strict=True) if row}

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()
        self._pool.shutdown()

    def _work(self) -> None:
        while not self._is_over.wait(0.2):
            with suppress(requests.RequestException, RedisError):  # whoever gets no answer asks again
                new, self._seen = self._order_ids[self._seen :], len(self._order_ids)
                for order_id in new:
                    self._change_mind(order_id)
                list(self._pool.map(self._see_to, self.rows("fulfilment").items()))

    def _see_to(self, found: tuple[str, dict[str, Any]]) -> None:
        order_id, row = found
        for shipment in row["shipments"]:
            path = f"/fulfilments/{order_id}/shipments/{shipment['number']}"
            if shipment["status"] == "planned":
                self.house.staff(f"{path}/pack")
            if shipment["status"] == "ready" and shipment["tracking"]:
                self.house.staff(f"{path}/dispatch")

    def _change_mind(self, order_id: str) -> None:
        minds = {self._cancel: CANCELS, self._stop: STOPS, self._lose: LOSES, self._contradict: CONTRADICTS}
        [change] = self._random.choices([*minds, None], [*minds.values(), 1 - sum(minds.values())])
        if change:
            change(order_id)

    def _cancel(self, order_id: str) -> None:
        self.house.cancel(order_id)

    def _stop(self, order_id: str) -> None:
        shown = self.house.get(f"/orders/{order_id}")
        if shown.ok:
            self.house.cancel(order_id, {shown.json()["lines"][0]["sku"]: 1})

    def _lose(self, order_id: str) -> None:
        self.house.carrier.script(order_id, "hand_over", scans=[_LOST])

    def _contradict(self, order_id: str) -> None:
        self.house.carrier.script(order_id, "hand_over", scans=[_LOST, {"what": "delivered", "after_s": 3}])


@contextmanager
def killing(stack: Stack, random: Random) -> Iterator[list[str]]:
    """Programs die at random, for as long as a `with` lasts; gives which. Afterwards all are there."""
    is_over, killed = Event(), list[str]()

    def kill() -> None:
        while not is_over.wait(random.uniform(*PAUSE_S)):
            killed.append(random.choice(VICTIMS))
            stack.kill(killed[-1])

    thread = Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        is_over.set()
        thread.join()
        for program in VICTIMS:
            stack.wait_ready(program)


def test_whoever_dies_all_orders_end_or_wait_for_somebody_and_money_is_what_the_provider_says(stack: Stack) -> None:
    random, tally, before = Random(SEED), Tally(), parked()
    skus = House().products([100 + 25 * number for number in range(20)])
    people = People(tally.accepted, Random(SEED))
    try:
        with killing(stack, random) as killed:
            asyncio.run(place(settings.setting("API_URL"), orders(skus, Random(SEED)), tally, steadily(PER_S)))
        for _ in range(3):  # refunds fail days later, and authorizations expire
            eventually(lambda: unrest(people) == [], patience_s=PATIENCE_S)
            people.house.provider.later(3 * DAY_S)
        eventually(lambda: unrest(people) == [] and differing(people) == [], patience_s=PATIENCE_S)
    finally:
        people.stop()
        left = unrest(people), differing(people)
    assert left == ([], [])
    assert set(killed) == {*VICTIMS}, "by this seed, each was killed"
    assert (len(tally.accepted), tally.refused) == (ORDERS, {})
    report = verify()
    assert (report.differences, report.parked) == ([], before)


def orders(skus: Sequence[str], random: Random) -> Iterator[Order]:
    """With all cards, and without one."""
    cards = [None, *(card.token for card in CARDS)]
    for number in range(ORDERS):
        lines = [(sku, random.randint(1, 3)) for sku in random.sample(skus, random.choice((1, 2, 3, 12)))]
        yield order(f"{skus[0]}-{number}", f"faults-{number % 50}", lines, cards[number % len(cards)])


def differing(people: People) -> list[str]:
    """Where our books are not the provider's; a refund that has just failed is so before we are told."""
    books: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in people.house.books():
        books[entry.order_id].append(entry)
    return [each for order_id, payment in people.rows("payment").items() for each in misfits(payment, books[order_id])]


def unrest(people: People) -> list[tuple[str, str]]:
    """The orders that are neither over nor wait for a person or a deadline, with their status; no order without a row."""
    rows, payments, parcels = (people.rows(view) for view in ("order", "payment", "fulfilment"))
    waiting = dues()
    return [
        (order_id, row["status"])
        for order_id, row in rows.items()
        if not rests(row, payments.get(order_id), parcels.get(order_id), waiting[order_id])
    ]


def dues() -> defaultdict[str, set[str]]:
    """By order, the names of the deadlines that are set, of orders and shipping."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute("SELECT aggregate_id, name FROM orders.deadline UNION ALL SELECT aggregate_id, name FROM shipping.deadline")
        for order_id, name in cursor.fetchall():
            found[order_id].add(name)
    return found


def rests(row: dict[str, Any], payment: dict[str, Any] | None, parcels: dict[str, Any] | None, due: set[str]) -> bool:
    cases = [*(payment["cases"] if payment else []), *(parcels["cases"] if parcels else [])]
    match row["status"]:
        case "rejected":
            return True
        case "cancelled" | "completed":
            return not payment or bool(cases) or payment["captured_minor"] - payment["refunded_minor"] == row["due_minor"]
        case "placed" | "reserved":
            return "pay_by" in due and payment is not None and not payment["operations"]
        case "confirmed":
            return _rests_confirmed(parcels, cases, due)
    return row["status"] == "undoing" and bool(cases)


def _rests_confirmed(parcels: dict[str, Any] | None, cases: Sequence[Any], due: set[str]) -> bool:
    """What staff or the carrier has to do is under way; what is held waits for the customer, but not for ever."""
    statuses = {each["status"] for each in parcels["shipments"]} if parcels else {"planned"}
    if statuses & {"planned", "packed", "ready", "dispatched"}:
        return False
    return bool(cases) and ("held" not in statuses or "hold_by" in due)


def test_the_orchestrator_of_an_exchange_may_die_before_and_after_each_of_its_commits(stack: Stack) -> None:
    """While a step's transaction waits for a lock both workers are killed, and again once it is committed."""
    house, before = House(), parked()
    [milk, bread] = house.products()
    order_id = house.completed(milk)
    stock = ExitStack()
    stock.enter_context(locked("inventory.stock", "sku", bread))
    exchange = house.exchange(order_id, milk, bread)
    exchange_id, new_id = exchange["exchange_id"], exchange["new_order_id"]
    answers: dict[str, Callable[[], None]] = {
        "ExchangeReturnWanted": stock.close,  # now there is stock for the new order
        "CreditDecided": lambda: house.take_back(order_id),
        "ExchangeFinished": lambda: house.pay(new_id),
    }
    for step, answer in answers.items():
        with locked("orders.exchange", "id", exchange_id):
            answer()
            eventually(is_waiting)
            kill_workers(stack)
        await_step(house, exchange_id, step)
        kill_workers(stack)
        if step == "ExchangeReturnWanted":
            house.stepped(order_id, "returns", "ReturnRequested")
        if step == "CreditDecided":
            house.stepped(new_id, "order", "OrderDueChanged")
            house.until(new_id, lambda order: order["payment"]["due_minor"] == 125)
    house.until(new_id, lambda order: order["status"] == "confirmed" and order["fulfilment"])
    house.hand_over(new_id)
    new = house.becomes(new_id, "completed")
    assert (new["due_minor"], new["payment"]["captured_minor"]) == (125, 125)
    house.check(order_id, "completed", 300, {milk: 1})
    assert steps(house.get(f"/exchanges/{exchange_id}").json()) == ["ExchangeRequested", *answers]
    report = verify()
    assert (report.differences, report.parked) == ([], before)


def await_step(house: House, exchange_id: str, step: str) -> None:
    eventually(lambda: step in steps(house.get(f"/exchanges/{exchange_id}").json()))


@contextmanager
def locked(table: str, column: str, key: str) -> Iterator[None]:
    """Whoever wants to change a row waits for as long as a `with` lasts."""
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT FROM {table} WHERE {column} = %s FOR UPDATE", (key,))
        assert cursor.rowcount == 1
        yield
        cursor.execute("ROLLBACK")


def is_waiting() -> bool:
    """Whether a transaction of orders waits for a lock."""
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'orders'")
        return bool(cursor.rowcount)


def kill_workers(stack: Stack) -> None:
    """Both, whose reactions the orchestrator's are."""
    for worker in WORKERS:
        stack.kill(worker)
    for worker in WORKERS:
        stack.wait_ready(worker)
