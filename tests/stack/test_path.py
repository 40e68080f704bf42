"""From HTTP to every view and table, on the real stack."""

from contextlib import closing
from typing import Any

import psycopg2
import pytest

from api.services import consumers
from kernel import settings
from kernel.partition import partition_of
from ops.balance import LINES
from ops.verify import verify
from streams.engine.consumer import consumer_id
from streams.engine.reader import Views
from streams.engine.stores.clickhouse import connect as connect_clickhouse
from tests.stack.compared import compared
from tests.stack.shop import Shop, at_once, eventually

pytestmark = pytest.mark.usefixtures("stack")


def table(query: str, **parameters: Any) -> list[Any]:
    return list(connect_clickhouse(settings.clickhouse_url()).query(query, parameters).result_rows)


def test_an_order_reaches_every_view_and_every_table() -> None:
    shop = Shop()
    milk, bread = shop.stocked("milk", 10, 150), shop.stocked("bread", 5, 275)
    placed = shop.order([(milk, 3), (bread, 1)])
    assert placed.status_code == 201, placed.text
    order = placed.json()
    assert (order["status"], order["total_minor"]) == ("placed", 3 * 150 + 275)

    settled = shop.settled(order["id"])
    beside = {"payment", "fulfilment", "returns"}
    changed = {"version": 3, "status": "confirmed", "steps": settled["steps"], "updated_at": settled["updated_at"]}
    assert {name: settled[name] for name in settled if name not in beside} == order | changed
    assert [step["type"] for step in settled["steps"]] == ["OrderPlaced", "OrderReserved", "OrderConfirmed"]
    stock = eventually(lambda: next(s for s in [shop.get(f"/stock/{milk}").json()] if s["reserved"] == 3))
    assert (stock["on_hand"], stock["available"]) == (10, 7)
    [summary] = [o for o in shop.get(f"/customers/{shop.name}/orders").json()["orders"] if o["id"] == order["id"]]
    assert summary["total_minor"] == order["total_minor"]
    assert shop.get(f"/products/{milk}").json()["price_minor"] == 150

    state = "SELECT status, total_minor FROM orders WHERE order_id = {id:UUID}"
    assert eventually(lambda: table(state, id=order["id"]) == [("confirmed", 725)])
    lines = "SELECT sku, department, quantity, unit_price_minor FROM order_lines WHERE order_id = {id:UUID} ORDER BY line"
    assert table(lines, id=order["id"]) == [(milk, "GROCERY", 3, 150), (bread, "GROCERY", 1, 275)]
    moves = "SELECT kind, on_hand, reserved FROM stock_movements WHERE sku = {sku:String} ORDER BY version"
    assert eventually(lambda: table(moves, sku=milk) == [("received", 10, 0), ("reserved", 10, 3)])
    assert eventually(lambda: table("SELECT price_minor FROM products WHERE sku = {sku:String}", sku=bread))


def test_an_order_that_stock_does_not_cover_is_rejected_whole() -> None:
    shop = Shop()
    milk, bread = shop.stocked("milk", 10), shop.stocked("bread", 1)
    order = shop.settled(shop.order([(milk, 1), (bread, 2)]).json()["id"])
    assert (order["status"], order["reason"]) == ("rejected", "not enough stock")
    assert shop.get(f"/stock/{milk}").json()["reserved"] == 0


def test_cancelling_frees_the_stock() -> None:
    shop = Shop()
    milk = shop.stocked("milk", 10)
    order_id = shop.order([(milk, 4)]).json()["id"]
    shop.settled(order_id)
    assert shop.post(f"/orders/{order_id}/cancel", None).json()["status"] == "stopping"
    eventually(lambda: shop.get(f"/orders/{order_id}").json()["status"] == "cancelled")
    eventually(lambda: shop.get(f"/stock/{milk}").json()["available"] == 10)


def test_fifty_buyers_of_one_product_never_oversell_it() -> None:
    shop = Shop()
    milk = shop.stocked("milk", 60)
    answers = at_once(lambda n: Shop().order([(milk, 2)], customer=f"buyer-{n}"), 50)
    statuses = [shop.settled(answer.json()["id"])["status"] for answer in answers]
    assert (statuses.count("confirmed"), statuses.count("rejected")) == (30, 20)
    stock = shop.get(f"/stock/{milk}").json()
    assert (stock["on_hand"], stock["available"]) == (60, 0)


def test_a_repeated_key_gives_the_first_answer_and_another_body_is_refused() -> None:
    shop = Shop()
    milk = shop.stocked("milk", 100)
    first = shop.order([(milk, 1)], key=f"key-{shop.name}")
    shop.settled(first.json()["id"])
    again = shop.order([(milk, 1)], key=f"key-{shop.name}")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    other = shop.order([(milk, 2)], key=f"key-{shop.name}")
    assert other.status_code == 422
    assert "Idempotency-Key" in other.json()["detail"]


def test_concurrent_repeats_of_a_key_place_one_order() -> None:
    shop = Shop()
    milk = shop.stocked("milk", 100)
    key = f"key-{shop.name}"
    answers = at_once(lambda _: Shop().order([(milk, 1)], key=key, customer=shop.name), 30)
    assert len({answer.content for answer in answers}) == 1
    mixed = at_once(lambda n: Shop().order([(milk, 1 + n % 2)], key=f"{key}-2", customer=shop.name), 30)
    assert sorted({answer.status_code for answer in mixed}) == [201, 422]
    assert len({answer.json()["id"] for answer in mixed if answer.ok}) == 1


def test_a_service_whose_database_hung_up_answers_its_next_request() -> None:
    """As after a restart of PostgreSQL, when nobody asked the service anything meanwhile."""
    shop = Shop()
    for n in range(20):  # so that its threads have connections
        assert shop.post("/products", shop.product(f"milk{n}")).status_code == 201
    admin = psycopg2.connect(settings.setting("ADMIN_DATABASE_URL"))
    with closing(admin), admin.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'catalog'")
        assert cursor.rowcount > 0
    for n in range(20):
        answer = shop.post("/products", shop.product(f"bread{n}"))
        assert answer.status_code == 201, answer.text


def test_stale_writes_to_a_product_are_refused() -> None:
    shop = Shop()
    product = shop.product("milk")
    sku = product["sku"]
    assert shop.post("/products", product).status_code == 201
    url = f"{shop.url}/v1/products/{sku}"
    changed = shop.http.patch(url, json={"price_minor": 160}, headers={"If-Match": '"1"'}, timeout=30)
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    stale = shop.http.patch(url, json={"price_minor": 170}, headers={"If-Match": '"1"'}, timeout=30)
    assert stale.status_code == 412
    eventually(lambda: shop.get(f"/products/{sku}").json().get("price_minor") == 160)


def test_a_customers_orders_come_in_pages_newest_first() -> None:
    shop = Shop()
    milk = shop.stocked("milk", 100)
    ids = [shop.order([(milk, 1)], customer=f"c-{shop.name}").json()["id"] for _ in range(7)]
    for order_id in ids:
        shop.settled(order_id)
    seen: list[str] = []
    cursor = ""
    while True:
        page = shop.get(f"/customers/c-{shop.name}/orders?limit=3{cursor}").json()
        seen += [order["id"] for order in page["orders"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ids[::-1]


def test_low_stock_is_found_by_what_is_available() -> None:
    shop = Shop()
    sku = shop.stocked("rare", 1)
    eventually(lambda: sku in [row["sku"] for row in shop.get("/stock?below=2&limit=1000").json()["stock"]])
    shop.settled(shop.order([(sku, 1)]).json()["id"])
    eventually(lambda: sku in [row["sku"] for row in shop.get("/stock?below=1&limit=1000").json()["stock"]])


def test_rows_lie_in_the_partition_that_readers_look_into() -> None:
    shop = Shop()
    shop.stocked("milk", 10)
    partitions = settings.partitions()
    reader = Views(settings.redis_url(), partitions)
    for view in ("product", "stock", "order"):
        for partition in range(partitions):
            assert all(partition_of(key, partitions) == partition for key, _ in reader.rows(view, partition))


def test_verify_covers_every_consumer_and_line_of_the_books_and_finds_no_difference() -> None:
    report = verify()
    assert report.differences == []
    assert set(report.checked) == {*(consumer_id(consumer) for consumer in consumers()), *LINES}


@pytest.mark.parametrize(
    ("lose", "restore", "consumer"),
    [
        (
            "UPDATE orders.orders SET notes = (notes - 'payment') || jsonb_build_object('lost', notes -> 'payment') WHERE id = %s",
            "UPDATE orders.orders SET notes = (notes - 'lost') || jsonb_build_object('payment', notes -> 'lost') WHERE id = %s",
            "reaction.orders.payments",
        ),
        (
            """UPDATE inventory.reservation SET state = state || '{"order_version": 0}' WHERE id = %s""",
            """UPDATE inventory.reservation SET state = state || '{"order_version": 1}' WHERE id = %s""",
            "reaction.inventory.reservations",
        ),
        (
            "UPDATE shipping.fulfilment SET version = 0, notes = notes || jsonb_build_object('was', version) WHERE id = %s",
            "UPDATE shipping.fulfilment SET version = (notes ->> 'was')::bigint, notes = notes - 'was' WHERE id = %s",
            "reaction.shipping.orders",
        ),
    ],
    ids=["not heard", "not answered", "not planned"],
)
def test_verify_finds_what_a_reaction_has_not_done(lose: str, restore: str, consumer: str) -> None:
    shop = Shop()
    order_id = shop.order([(shop.stocked("milk", 10), 1)]).json()["id"]
    shop.settled(order_id)
    eventually(lambda: shop.get(f"/orders/{order_id}").json()["fulfilment"])
    admin = psycopg2.connect(settings.setting("ADMIN_DATABASE_URL"))
    admin.autocommit = True
    with closing(admin), admin.cursor() as cursor:
        cursor.execute(lose, (order_id,))
        try:
            assert (consumer, order_id) in {(d.consumer, d.key) for d in compared(consumer).differences}
        finally:
            cursor.execute(restore, (order_id,))
    assert compared(consumer).differences == []
