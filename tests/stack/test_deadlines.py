"""Orders that nobody answers in time, on the real stack."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from kernel import settings
from local.stack import Stack
from ops.databases import admin
from ops.status import describe
from tests.stack.compared import compared
from tests.stack.shop import Shop, eventually

#: Orders whose deadlines pass one after the other, and the time between two.
ORDERS, APART = 100, timedelta(milliseconds=30)

_MOVE = """
UPDATE orders.deadline SET due_at = new.at, try_at = new.at FROM unnest(%s::text[], %s::timestamptz[]) AS new (id, at)
WHERE aggregate_id = new.id AND name = 'pay_by'
"""
_CANCELLED = """
SELECT aggregateid, version, occurred_at FROM orders.outbox
WHERE type = 'OrderLinesCancelled' AND aggregateid = ANY(%s)
"""
_LEFT = "SELECT count(*) FROM orders.deadline WHERE aggregate_id = ANY(%s)"


@pytest.fixture
def shop(stack: Stack) -> Shop:
    return Shop()


@pytest.fixture
def unheard(stack: Stack, shop: Shop) -> Iterator[str]:
    """A sku in stock; the inventory hears of no order of it until the test ends."""
    sku = shop.stocked("milk", 1_000_000)
    eventually(lambda: all_heard(shop))
    stack.stop("connect")
    try:
        yield sku
    finally:
        stack.start("connect")
        stack.wait_ready("connect")


def all_heard(shop: Shop) -> bool:
    """Whether every order of this shop is answered."""
    orders = shop.get(f"/customers/{shop.name}/orders").json()["orders"]
    return bool(orders) and all(order["status"] != "placed" for order in orders)


def move(due: dict[str, datetime]) -> None:
    """As if the orders had been placed so long ago that their deadlines pass at these moments."""
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute(_MOVE, (list(due), list(due.values())))
        assert cursor.rowcount == len(due)


def cancelled(order_ids: list[str]) -> list[tuple[str, int, datetime]]:
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute(_CANCELLED, (order_ids,))
        rows: list[tuple[str, int, datetime]] = cursor.fetchall()
        return rows


def left(order_ids: list[str]) -> int:
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute(_LEFT, (order_ids,))
        [number] = cursor.fetchone() or (0,)
        return int(number)


def test_an_order_that_the_inventory_does_not_answer_in_time_is_cancelled(
    stack: Stack, shop: Shop, unheard: str
) -> None:
    before = shop.get(f"/stock/{unheard}").json()["reserved"]
    order_id = shop.order([(unheard, 3)]).json()["id"]
    assert left([order_id]) == 1
    [waiting] = [each for each in describe()["due"] if (each["service"], each["name"], each["state"]) == ("orders", "pay_by", "waiting")]
    assert (waiting["what"], waiting["age_s"] < 0) == ("deadline", True)
    move({order_id: datetime.now(UTC)})
    [(_, version, _)] = eventually(lambda: cancelled([order_id]))
    assert version == 2
    assert left([order_id]) == 0

    stack.start("connect")
    order = shop.settled(order_id)
    assert (order["status"], order["reason"]) == ("cancelled", "the inventory did not answer in time")
    assert compared("view.order", "view.stock", "reaction.inventory.reservations").differences == []
    assert shop.get(f"/stock/{unheard}").json()["reserved"] == before


def test_an_order_that_is_paid_for_has_no_deadline_any_more(shop: Shop) -> None:
    sku = shop.stocked("milk", 10)
    order_id = shop.order([(sku, 1)]).json()["id"]
    assert shop.settled(order_id)["status"] == "confirmed"
    assert left([order_id]) == 0


def test_an_order_that_is_not_paid_for_in_time_is_cancelled_and_its_stock_is_free(shop: Shop) -> None:
    sku = shop.stocked("milk", 10)
    order_id = shop.order([(sku, 1)], card=None).json()["id"]
    eventually(lambda: shop.get(f"/orders/{order_id}").json()["status"] == "reserved")
    assert left([order_id]) == 1
    move({order_id: datetime.now(UTC)})
    order = shop.settled(order_id)
    assert (order["status"], order["reason"]) == ("cancelled", "it was not paid in time")
    assert shop.get(f"/stock/{sku}").json()["available"] == 10


@pytest.mark.parametrize("worker", ["worker-1", "worker-2"])
def test_a_worker_that_is_killed_holds_up_no_deadline_for_long_and_each_becomes_a_command_once(
    stack: Stack, shop: Shop, unheard: str, worker: str
) -> None:
    order_ids = [shop.order([(unheard, 1)]).json()["id"] for _ in range(ORDERS)]
    begin = datetime.now(UTC) + timedelta(seconds=1)
    due = {order_id: begin + number * APART for number, order_id in enumerate(order_ids)}
    move(due)
    eventually(lambda: cancelled(order_ids))
    stack.kill(worker)
    assert left(order_ids), "it was killed while deadlines passed"
    eventually(lambda: not left(order_ids))
    stack.wait_ready(worker)
    found = cancelled(order_ids)
    assert sorted(order_id for order_id, *_ in found) == sorted(order_ids)
    assert max(at - due[order_id] for order_id, _, at in found) < timedelta(seconds=5)
