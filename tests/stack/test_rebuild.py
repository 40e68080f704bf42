"""Any view and table can be made anew from its topic, beside the live one, while orders come in."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.services import views
from kernel import settings
from kernel.partition import partition_of
from local.stack import Stack
from ops.generations import rebuildable
from ops.rebuild import RebuildFailed, rebuild
from ops.verify import verify
from streams.engine.reader import Views
from streams.engine.stores.clickhouse import connect as connect_clickhouse
from streams.engine.stores.redis import connect as connect_redis
from streams.engine.stores.redis import keys_of
from tests.stack.buyers import Buyers, buying
from tests.stack.compared import compared
from tests.stack.shop import Shop
from tests.stack.whole import House

pytestmark = pytest.mark.usefixtures("stack")


@pytest.fixture(scope="module")
def buyers(stack: Stack) -> Iterator[Buyers]:
    assert stack
    shop = House()
    [milk, bread] = shop.products()
    completed = shop.completed(milk)
    shop.exchange(completed, milk, bread)
    shop.stepped(completed, "returns", "ReturnRequested")
    with buying([shop.stocked(f"item{n}", 1_000_000) for n in range(5)]) as buyers:
        yield buyers


@pytest.mark.parametrize("name", rebuildable())
def test_live_equals_rebuilt_byte_for_byte_and_readers_are_switched(name: str, buyers: Buyers) -> None:
    buyers.await_more(5)
    rebuilt = rebuild(name)
    buyers.await_more(5)
    assert rebuilt.identical
    assert rebuilt.events > 0


def test_several_processes_make_what_one_does(buyers: Buyers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.rebuild.FEW", 0)
    buyers.await_more(5)
    assert rebuild("order").identical


def test_pages_are_whole_while_the_index_that_they_are_read_from_is_made_anew(buyers: Buyers) -> None:
    """Each walk through an old customer's orders finds them all, once each and in order."""
    shop = Shop()
    sku = shop.stocked("pages", 1_000)
    placed = [shop.order([(sku, 1)], customer=f"old-{shop.name}").json()["id"] for _ in range(20)]
    for order_id in placed:
        shop.settled(order_id)
    walks, ended = 0, threading.Event()

    def walk() -> None:
        nonlocal walks
        while not ended.is_set():
            assert list(walked(shop, f"/customers/old-{shop.name}/orders?status=confirmed&limit=7")) == placed[::-1]
            walks += 1

    with ThreadPoolExecutor(1) as pool:
        walking = pool.submit(walk)
        try:
            for _ in range(2):
                generation, before = Views(settings.redis_url(), 4).generation("customer_orders"), walks
                assert rebuild("customer_orders").identical
                assert Views(settings.redis_url(), 4).generation("customer_orders") > generation
                assert walks > before
            buyers.await_more(5)
        finally:
            ended.set()
        walking.result()


def walked(shop: Shop, path: str) -> Iterator[str]:
    """The orders of all pages."""
    cursor = ""
    while True:
        answer = shop.get(f"{path}{cursor}")
        assert answer.ok, answer.text
        yield from (order["id"] for order in answer.json()["orders"])
        if answer.json()["next_cursor"] is None:
            return
        cursor = f"&cursor={answer.json()['next_cursor']}"


def test_what_was_ordered_meanwhile_is_in_all_of_them(buyers: Buyers) -> None:
    buyers.stop()
    buyers.check()
    assert verify().differences == []


def test_a_live_view_that_is_not_what_its_topic_gives_is_found_and_stays_live() -> None:
    shop = Shop()
    sku = shop.stocked("milk", 10)
    reader = Views(settings.redis_url(), settings.partitions())
    generation = reader.generation("stock")
    client = connect_redis(settings.redis_url())
    keys = [keys_of("stock", generation, p).rows for p in range(settings.partitions())]
    [key] = [key for key in keys if client.hexists(key, sku)]
    right = client.hget(key, sku)
    client.hset(key, sku, b'{"sku":"?"}')
    try:
        assert not rebuild("stock").identical
        assert reader.generation("stock") == generation
        assert {d.key for d in compared("view.stock").differences} == {sku}
    finally:
        client.hset(key, sku, right)
    assert compared("view.stock").differences == []


def test_an_index_entry_that_is_missing_or_too_many_is_found_by_verify_and_mended_by_a_rebuild() -> None:
    shop = Shop()
    sku = shop.stocked("milk", 10)
    reader = Views(settings.redis_url(), settings.partitions())
    partition = partition_of(sku, settings.partitions())
    index = keys_of("stock", reader.generation("stock"), partition).entries
    [entry] = [entry for entry in reader.entries("stock", partition) if entry.endswith(f"\0{sku}")]
    client = connect_redis(settings.redis_url())
    client.zrem(index, entry)
    client.zadd(index, {entry.replace(f"{10:016}", f"{11:016}"): 0})
    found = compared("view.stock")
    assert found.differing == {"view.stock": 2}
    assert sorted([d.expected is None, d.actual is None] for d in found.differences) == [[False, True], [True, False]]
    assert all(sku in d.key and "available" in d.key for d in found.differences)
    damaged = rebuild("stock")
    assert (damaged.identical, damaged.differing) == (False, 2)
    assert rebuild("stock", accept_differences=True).differing == 2
    assert compared("view.stock").differences == []


def test_a_deleted_row_is_found_by_verify_and_mended_by_a_rebuild() -> None:
    """One that has others after it: without the last row the position goes back, and the worker reads it again."""
    shop = Shop()
    for number in range(9):
        shop.stocked(f"milk{number}", 10)
    assert compared("table.products").differences == []
    client = connect_clickhouse(settings.clickhouse_url())
    live = client.command("SELECT comment FROM system.tables WHERE name = 'products'")
    first = "SELECT argMin(sku, _offset) FROM products GROUP BY _partition HAVING count() > 1 LIMIT 1"
    sku = client.command(first)
    client.command(f"DELETE FROM products_{live} WHERE sku = {{sku:String}}", {"sku": sku})
    assert [(d.consumer, d.key) for d in compared("table.products").differences] == [("table.products", sku)]
    assert not rebuild("products", accept_differences=True).identical
    assert compared("table.products").differences == []


def test_two_rebuilds_of_one_view_do_not_meet() -> None:
    name = next(iter(views()))
    lock = connect_redis(settings.redis_url()).lock(f"rebuild:{name}", timeout=60, blocking=False)
    assert lock.acquire()
    try:
        with pytest.raises(RebuildFailed, match="by somebody else"):
            rebuild(name)
    finally:
        lock.release()
