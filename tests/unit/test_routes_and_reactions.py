"""Every route and every reaction at work, without a server: a shop whose stores and views are in memory."""

from datetime import timedelta
from functools import partial
from itertools import chain, combinations
from typing import Any, NamedTuple, NoReturn
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.catalog import routes as catalog
from api.inventory import routes as inventory
from api.orders import deadlines as expiring
from api.orders import exchanges
from api.orders import routes as orders
from api.orders.routes import Times
from api.payments import routes as payments
from api.payments.simulated import parse_webhook as parse_provider
from api.services import views
from api.shipping import routes as shipping
from api.shipping.simulated import parse_webhook as parse_carrier
from kernel.limits import MAX_NUMBER
from kernel.refusals import Unavailable
from schemas.codec import TYPES
from schemas.event import iso_utc
from streams.engine.consumer import NotYet
from tests import lives, memory_carrier, memory_provider
from tests.events import START, life
from tests.memory_services import MemoryCatalog, MemoryDatabase, MemoryInventory, MemoryViews

MILK = {
    "sku": "milk",
    "name": "Milk",
    "department": "GROCERY",
    "category": "DAIRY",
    "brand": "National",
    "price_minor": 150,
    "currency": "USD",
}
BREAD = MILK | {"sku": "bread", "name": "Bread", "price_minor": 200}
SAID = {name: value for name, value in MILK.items() if name != "sku"}
ORDER: dict[str, Any] = {"customer_id": "ada", "card_token": "tok_approved", "lines": [{"sku": "milk", "quantity": 1}]}
TRACEPARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
NOW = iso_utc(START)
PAY_BY = timedelta(minutes=15)
KEY = "of the operator"
STAFF = {"Authorization": f"Bearer {KEY}"}


class Shop:
    """All services. What they publish gets to views and reactions when `deliver` is called, and not before."""

    def __init__(self) -> None:
        self.life = lives.Shop()
        self.clock = self.life.clock
        self.catalog, self.inventory, self.orders = MemoryCatalog(), self.life.inventory, self.life.orders
        self.payments, self.shipping = self.life.payments, self.life.shipping
        self.orders.copied, self.inventory.stocks = {}, {}
        self.stores: tuple[Any, ...] = (self.catalog, self.orders, self.inventory, self.payments, self.shipping)
        self.views = MemoryViews(list(views().values()))
        self._delivered = [0] * len(self.stores)
        times = Times(PAY_BY, timedelta(days=30))
        provider = partial(parse_provider, secrets=[memory_provider.SECRET])
        carrier = partial(parse_carrier, secrets=[memory_carrier.SECRET])
        apps = {
            "products": catalog.create_app(MemoryDatabase(self.catalog), self.views, self.clock),
            "stock": inventory.create_app(MemoryDatabase(self.inventory), self.views, self.clock),
            "orders": orders.create_app(MemoryDatabase(self.orders), self.views, self.clock, times, KEY),
            "payments": payments.create_app(MemoryDatabase(self.payments), self.views, self.clock, provider, KEY),
            "fulfilments": shipping.create_app(MemoryDatabase(self.shipping), self.views, self.clock, carrier, KEY),
        }
        self._clients: dict[str, FlaskClient] = {path: app.test_client() for path, app in apps.items()}
        alike = {"customers": "orders", "exchanges": "orders", "cases": "orders", "returns": "fulfilments"}
        self._clients |= {path: self._clients[other] for path, other in alike.items()}
        self._webhooks = {"provider": self._clients["payments"], "carrier": self._clients["fulfilments"]}

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        first, *rest = path.removeprefix("/").split("/")
        client = self._webhooks[rest[0]] if first == "webhooks" else self._clients[first.partition(":")[0].partition("?")[0]]
        names = {"Idempotency-Key": uuid4().hex} | {name.replace("_", "-"): value for name, value in headers.items()}
        return client.open(f"/v1{path}", method=method, json=body, headers=names)

    def get(self, path: str) -> Any:
        answer = self.send("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.get_json()

    def order(self, key: str = "key", **quantities: int) -> TestResponse:
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in quantities.items()]
        return self.send("POST", "/orders", {"customer_id": "ada", "card_token": "tok_approved", "lines": lines}, Idempotency_Key=key)

    def pages(self, path: str, name: str, key: str) -> list[list[str]]:
        """The keys on each page of a list."""
        found, page = [], self.get(path)
        while True:
            found.append([item[key] for item in page[name]])
            if page["next_cursor"] is None:
                return found
            page = self.get(f"{path}&cursor={page['next_cursor']}")

    def deliver(self) -> None:
        """Everything that is published, and what comes of it, as long as something does."""
        self._show()
        self.life.settle()
        self._show()

    def _show(self) -> None:
        for number, store in enumerate(self.stores):
            new = store.published[self._delivered[number] :]
            self._delivered[number] = len(store.published)
            for event in new:
                self.views.apply(event, TYPES[event.type].topic)
            if store is self.catalog and new:
                self.life.hearing()["orders.prices"](new)

    def sent(self, **quantities: Any) -> str:
        """An order that has arrived."""
        order_id: str = self.order(**quantities).get_json()["id"]
        self.deliver()
        for step in ("pack", "dispatch"):
            assert self.send("POST", f"/fulfilments/{order_id}/shipments/1/{step}", **STAFF).status_code == 200
            self.deliver()
        self.life.pass_time(timedelta(days=2))
        self.deliver()
        return order_id

    def stocked(self) -> None:
        """Ten milks and ten breads, which orders know."""
        self.send("POST", "/products:batch", {"products": [MILK, BREAD]})
        receipts = [{"sku": sku, "quantity": 10} for sku in ("milk", "bread")]
        self.send("POST", "/stock:receive", {"receipts": receipts})
        self.deliver()


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_a_service_whose_database_answers_is_healthy(shop: Shop) -> None:
    for client in shop._clients.values():  # noqa: SLF001  # it has no path of its own at the front door
        assert client.get("/health/ready").get_json() == {"status": "ok"}


def test_a_product_is_created_changed_replaced_and_archived(shop: Shop) -> None:
    row = MILK | {"version": 1, "archived": False, "updated_at": NOW}
    answer = shop.send("POST", "/products", MILK, traceparent=TRACEPARENT)
    assert (answer.status_code, answer.get_json()) == (201, row)
    assert (answer.headers["Location"], answer.headers["ETag"]) == ("/v1/products/milk", '"1"')
    assert shop.catalog.published[0].traceparent == TRACEPARENT
    assert shop.send("POST", "/products", MILK).status_code == 409

    answer = shop.send("PATCH", "/products/milk", {"price_minor": 175}, If_Match='"1"')
    assert (answer.status_code, answer.get_json()) == (200, row | {"version": 2, "price_minor": 175})
    assert shop.send("PATCH", "/products/milk", {"price_minor": 1}, If_Match='"1"').status_code == 412

    said = SAID | {"brand": "Another"}
    assert shop.send("PUT", "/products/milk", said).get_json() == row | {"version": 3, "brand": "Another"}
    assert shop.send("DELETE", "/products/milk").get_json()["archived"]
    assert shop.send("PUT", "/products/milk", said).status_code == 409
    assert shop.send("PUT", "/products/bread", said).status_code == 404

    shop.deliver()
    assert shop.get("/products/milk") == row | {"version": 4, "brand": "Another", "archived": True}


@pytest.mark.parametrize("tags", ['"1"', '"7", "1"', ' , W/"1","1" ,', "*"])
def test_a_change_of_what_the_sender_has_seen_is_made(shop: Shop, tags: str) -> None:
    shop.send("POST", "/products", MILK)
    assert shop.send("PATCH", "/products/milk", {"price_minor": 1}, If_Match=tags).status_code == 200


@pytest.mark.parametrize("tags", ['"2"', '"2", "3"', 'W/"1"', '"01"', '"1.x"', '"+1"', '""', '"x"', '"W/"', '"*"'])
def test_a_change_of_anything_else_is_not(shop: Shop, tags: str) -> None:
    shop.send("POST", "/products", MILK)
    assert shop.send("PATCH", "/products/milk", {"price_minor": 1}, If_Match=tags).status_code == 412
    assert shop.send("GET", "/products/milk", If_Match=tags).status_code == 404
    shop.deliver()
    assert shop.send("GET", "/products/milk", If_Match=tags).status_code == 412


def reads(shop: Shop) -> list[tuple[str, str]]:
    """What has a version of its own, and that version as a tag without its quotes."""
    shop.stocked()
    order_id = shop.order(milk=1).get_json()["id"]
    shop.deliver()
    paths = ["/products/milk", "/stock/milk", f"/orders/{order_id}"]
    return [(path, shop.send("GET", path).headers["ETag"].strip('"')) for path in paths]


@pytest.mark.parametrize("tags", ['"N"', 'W/"N"', '"77", W/"N"', "*"])
def test_who_has_what_is_read_already_is_told_just_that(shop: Shop, tags: str) -> None:
    for path, version in reads(shop):
        for method in ("GET", "HEAD"):
            answer = shop.send(method, path, If_None_Match=tags.replace("N", version))
            assert (answer.status_code, answer.headers["ETag"], answer.data) == (304, f'"{version}"', b"")
            assert "Content-Type" not in answer.headers


@pytest.mark.parametrize("tags", ['"0N"', '"77"', 'W/"0N", "x"', '"W/N"', '""', '"*"'])
def test_who_has_something_else_gets_what_is_read(shop: Shop, tags: str) -> None:
    for path, version in reads(shop):
        answer = shop.send("GET", path, If_None_Match=tags.replace("N", version))
        assert (answer.status_code, answer.headers["ETag"]) == (200, f'"{version}"')


@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("tags", ["1", '"1', "x", '"1" "2"', "*, *", ""])
def test_a_read_with_what_is_no_list_of_tags_is_a_bad_request(shop: Shop, name: str, tags: str) -> None:
    for path, _ in reads(shop):
        answer = shop.send("GET", path, **{name: tags})
        assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")
        assert answer.get_json(force=True)["errors"][0]["field"] == name


def test_each_of_many_products_has_its_own_result(shop: Shop) -> None:
    sent = [MILK, BREAD, MILK, {"sku": "eggs"}]
    results = shop.send("POST", "/products:batch", {"products": sent}).get_json()["results"]
    assert [result["status"] for result in results] == [201, 201, 409, 422]
    assert [event.key for event in shop.catalog.published] == ["milk", "bread"]


def test_the_largest_number_is_taken_and_told_exactly(shop: Shop) -> None:
    """JSON's readers have doubles, which are exact up to it."""
    product = shop.send("POST", "/products", MILK | {"price_minor": MAX_NUMBER})
    assert (product.status_code, product.get_json()["price_minor"]) == (201, MAX_NUMBER)
    assert shop.send("POST", "/stock/milk/receipts", {"quantity": MAX_NUMBER}).get_json()["available"] == MAX_NUMBER
    assert shop.send("POST", "/stock/milk/receipts", {"quantity": 1}).status_code == 409
    shop.deliver()
    assert shop.get(f"/stock?below={MAX_NUMBER}") == {"stock": [], "next_cursor": None}
    shop.send("POST", "/stock/milk/adjustments", {"quantity": -1, "reason": "broken"})
    shop.deliver()
    assert [item["available"] for item in shop.get(f"/stock?below={MAX_NUMBER}")["stock"]] == [MAX_NUMBER - 1]


def test_stock_is_received_counted_and_listed(shop: Shop) -> None:
    row = {"sku": "milk", "version": 1, "on_hand": 10, "reserved": 0, "available": 10, "updated_at": NOW}
    answer = shop.send("POST", "/stock/milk/receipts", {"quantity": 10})
    assert (answer.status_code, answer.get_json(), answer.headers["ETag"]) == (200, row, '"1"')
    receipts = [{"sku": "bread", "quantity": 3}, {"sku": "milk", "quantity": MAX_NUMBER}, {}]
    results = shop.send("POST", "/stock:receive", {"receipts": receipts}).get_json()["results"]
    assert [result["status"] for result in results] == [200, 409, 422]

    counted = {"quantity": -4, "reason": "broken"}
    answer = shop.send("POST", "/stock/milk/adjustments", counted)
    assert answer.get_json() == row | {"version": 2, "on_hand": 6, "available": 6}
    assert shop.send("POST", "/stock/milk/adjustments", counted | {"quantity": -7}).status_code == 409
    assert shop.send("POST", "/stock/eggs/adjustments", counted).status_code == 404

    shop.deliver()
    assert shop.get("/stock/milk") == row | {"version": 2, "on_hand": 6, "available": 6}
    assert [item["sku"] for item in shop.get("/stock?below=7")["stock"]] == ["bread", "milk"]
    assert [item["sku"] for item in shop.get("/stock?below=6")["stock"]] == ["bread"]
    assert shop.pages("/stock?below=7&limit=1", "stock", "sku") == [["bread"], ["milk"]]


def test_an_order_is_placed_at_the_prices_of_now_and_confirmed_when_its_stock_is_reserved(shop: Shop) -> None:
    shop.stocked()
    answer = shop.order(milk=2, bread=1)
    order = answer.get_json()
    assert (answer.status_code, order["status"], order["total_minor"]) == (201, "placed", 500)
    assert answer.headers["Location"] == f"/v1/orders/{order['id']}"
    shop.deliver()
    found = shop.get(f"/orders/{order['id']}")
    assert (found["version"], found["status"], found["due_minor"]) == (3, "confirmed", 500)
    assert [step["type"] for step in found["steps"]] == ["OrderPlaced", "OrderReserved", "OrderConfirmed"]
    assert (found["payment"]["status"], found["fulfilment"]["status"], found["returns"]) == ("authorized", "open", None)
    assert shop.get("/stock/milk")["available"] == 8
    [listed] = shop.get("/customers/ada/orders")["orders"]
    assert (listed["id"], listed["status"]) == (order["id"], "confirmed")


def test_a_product_that_has_changed_since_the_last_order_of_it_is_ordered_as_it_is_now(shop: Shop) -> None:
    shop.stocked()
    assert shop.order("first", milk=1, bread=1).get_json()["total_minor"] == 350
    shop.send("PATCH", "/products/milk", {"price_minor": 175, "currency": "EUR"})
    shop.deliver()
    assert shop.order("second", milk=1, bread=1).status_code == 422
    shop.send("PATCH", "/products/bread", {"currency": "EUR"})
    shop.deliver()
    assert shop.order("third", milk=1, bread=1).get_json()["total_minor"] == 375
    shop.send("DELETE", "/products/milk")
    shop.deliver()
    assert shop.order("fourth", milk=1).get_json()["errors"][0]["field"] == "lines.0.sku"


def test_an_order_that_can_not_be_reserved_whole_is_rejected_and_holds_nothing(shop: Shop) -> None:
    shop.stocked()
    order = shop.order(milk=1, bread=11).get_json()
    shop.deliver()
    rejected = shop.get(f"/orders/{order['id']}")
    assert (rejected["status"], rejected["reason"]) == ("rejected", "not enough stock")
    assert shop.get("/stock/milk")["available"] == 10
    assert shop.send("POST", f"/orders/{order['id']}/cancel").status_code == 409


def test_cancelling_frees_what_was_reserved(shop: Shop) -> None:
    shop.stocked()
    order = shop.order(milk=2).get_json()
    shop.deliver()
    answer = shop.send("POST", f"/orders/{order['id']}/cancel")
    assert (answer.status_code, answer.get_json()["status"], answer.headers["ETag"]) == (200, "stopping", '"4"')
    assert shop.send("POST", f"/orders/{order['id']}/cancel").status_code == 409
    shop.deliver()
    found = shop.get(f"/orders/{order['id']}")
    assert (found["status"], found["due_minor"], found["payment"]["authorized_minor"]) == ("cancelled", 0, 0)
    assert shop.send("POST", f"/orders/{order['id']}/cancel").get_json()["version"] == found["version"]
    assert shop.get("/stock/milk")["available"] == 10


def test_an_order_waits_for_its_answer_until_it_has_one(shop: Shop) -> None:
    shop.stocked()
    order_id = shop.order(milk=2).get_json()["id"]
    assert shop.orders.due == {("pay_by", order_id): START + PAY_BY}
    shop.deliver()
    assert shop.orders.due == {}
    cancelled = shop.order("another", milk=2).get_json()["id"]
    assert [*shop.orders.due] == [("pay_by", cancelled)]
    shop.send("POST", f"/orders/{cancelled}/cancel")
    assert shop.orders.due == {}


def test_an_order_without_an_answer_in_time_is_cancelled_and_frees_what_is_reserved_later(shop: Shop) -> None:
    shop.stocked()
    order_id = shop.order(milk=2).get_json()["id"]
    expiring.expire_orders(shop.orders, [order_id], shop.clock.context())
    shop.deliver()
    order = shop.get(f"/orders/{order_id}")
    assert (order["status"], order["reason"]) == ("cancelled", "the inventory did not answer in time")
    assert shop.get("/stock/milk")["available"] == 10


def test_a_deadline_of_an_order_that_has_its_answer_changes_nothing(shop: Shop) -> None:
    shop.stocked()
    order_id = shop.order(milk=2).get_json()["id"]
    shop.deliver()
    expiring.expire_orders(shop.orders, [order_id], shop.clock.context())
    shop.deliver()
    assert shop.get(f"/orders/{order_id}")["status"] == "confirmed"


def test_an_order_that_comes_again_gets_the_first_answer_again_whatever_has_changed(shop: Shop) -> None:
    shop.stocked()
    first = shop.order(milk=2)
    assert shop.order(milk=2).data == first.data
    shop.send("DELETE", "/products/milk")
    shop.deliver()
    assert shop.order(milk=2).data == first.data
    assert shop.order(milk=3).status_code == 422
    assert shop.order("another", milk=2).status_code == 422


class Once(NamedTuple):
    """A command that can be sent again: what it changes is told by how many events there are then."""

    method: str
    path: str
    body: dict[str, Any] | None
    other: dict[str, Any] | None


ONCE = [
    Once("POST", "/products", MILK | {"sku": "eggs"}, MILK | {"sku": "ham"}),
    Once("POST", "/products:batch", {"products": [MILK | {"sku": "eggs"}]}, {"products": [MILK | {"sku": "ham"}]}),
    Once("PUT", "/products/milk", SAID, SAID | {"brand": "Another"}),
    Once("PATCH", "/products/milk", {"price_minor": 1}, {"price_minor": 2}),
    Once("DELETE", "/products/milk", None, None),
    Once("POST", "/stock/milk/receipts", {"quantity": 1}, {"quantity": 2}),
    Once("POST", "/stock:receive", {"receipts": [{"sku": "milk", "quantity": 1}]}, {"receipts": [{"sku": "milk", "quantity": 2}]}),
    Once("POST", "/stock/milk/adjustments", {"quantity": 1, "reason": "found"}, {"quantity": -1, "reason": "lost"}),
    Once("POST", "/orders", ORDER, ORDER | {"lines": [{"sku": "milk", "quantity": 2}]}),
    Once("POST", "/orders/{order}/cancel", None, None),
]


def published(shop: Shop) -> int:
    return sum(len(store.published) for store in shop.stores)


@pytest.mark.parametrize("command", ONCE, ids=lambda command: f"{command.method} {command.path}")
def test_a_command_that_is_repeated_counts_once_and_gets_the_first_answer(shop: Shop, command: Once) -> None:
    shop.stocked()
    path = command.path.format(order=shop.order(milk=1).get_json()["id"])
    before = published(shop)
    first = shop.send(command.method, path, command.body, Idempotency_Key="k", If_Match="*")
    assert first.status_code in (200, 201), first.text
    again = shop.send(command.method, path, command.body, Idempotency_Key='"k"', If_Match='"999"')
    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert dict(again.headers) == dict(first.headers)
    assert published(shop) == before + 1
    if command.other:
        assert shop.send(command.method, path, command.other, Idempotency_Key="k").status_code == 422
        assert published(shop) == before + 1
        assert shop.send(command.method, path, command.other, Idempotency_Key="l").status_code in (200, 201)
        assert published(shop) == before + 2


@pytest.mark.parametrize("command", ONCE, ids=lambda command: f"{command.method} {command.path}")
def test_every_read_sees_what_the_token_of_a_command_names(shop: Shop, command: Once) -> None:
    shop.stocked()
    path = command.path.format(order=shop.order(milk=1).get_json()["id"])
    token = shop.send(command.method, path, command.body).headers["Marea-Token"]
    reads = {
        "products": ["/products/milk", "/products?brand=National"],
        "stock": ["/stock/milk", "/stock?below=5"],
        "orders": [f"/orders/{uuid4()}", "/customers/ada/orders"],
    }
    for topic, paths in reads.items():
        expected = {503} if path.startswith(f"/{topic}") else {200, 404}
        for read in paths:
            assert shop.send("GET", read, Marea_Token=token).status_code in expected, read
    shop.deliver()
    for read in chain(*reads.values()):
        assert shop.send("GET", read, Marea_Token=token).status_code in (200, 404), read


def test_a_read_is_told_that_what_it_has_to_see_is_parked(shop: Shop) -> None:
    token = shop.send("POST", "/products", MILK).headers["Marea-Token"]
    shop.views.parked.add(("product", "milk"))
    answer = shop.send("GET", "/products/milk", Marea_Token=token)
    assert (answer.status_code, answer.get_json()["type"]) == (503, "parked")


def test_the_same_key_is_another_command_of_another_customer_and_at_another_route(shop: Shop) -> None:
    shop.stocked()
    first = shop.order("k", milk=1)
    other = shop.send("POST", "/orders", ORDER | {"customer_id": "bob"}, Idempotency_Key="k")
    cancelled = shop.send("POST", f"/orders/{first.get_json()['id']}/cancel", Idempotency_Key="k")
    assert (other.status_code, other.get_json()["customer_id"]) == (201, "bob")
    assert (cancelled.status_code, cancelled.get_json()["status"]) == (200, "undoing")


def test_two_orders_may_be_cancelled_with_the_same_key(shop: Shop) -> None:
    shop.stocked()
    for order_id in [shop.order(key, milk=1).get_json()["id"] for key in ("k", "l")]:
        assert shop.send("POST", f"/orders/{order_id}/cancel", Idempotency_Key="1").get_json()["id"] == order_id


def test_what_is_not_there_matches_no_version_at_all(shop: Shop) -> None:
    assert shop.send("POST", "/stock/milk/receipts", {"quantity": 1}, If_Match="*").status_code == 412
    assert shop.send("POST", "/stock/milk/receipts", {"quantity": 1}).status_code == 200
    assert shop.send("POST", "/stock/milk/receipts", {"quantity": 1}, If_Match="*").status_code == 200


def test_a_service_that_is_too_busy_is_not_asked_for_a_first_answer(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would wait for a connection once more."""

    def busy(*_: Any) -> NoReturn:
        raise Unavailable("too busy")

    monkeypatch.setattr(MemoryInventory, "lock_or_add", busy)
    monkeypatch.setattr(MemoryDatabase, "answer", lambda *_: pytest.fail("it was asked"))
    assert shop.send("POST", "/stock/milk/receipts", {"quantity": 1}).status_code == 503


def test_a_command_that_was_refused_is_decided_anew(shop: Shop) -> None:
    counted = {"quantity": 1, "reason": "found"}
    assert shop.send("POST", "/stock/milk/adjustments", counted, Idempotency_Key="k").status_code == 404
    shop.send("POST", "/stock/milk/receipts", {"quantity": 1})
    assert shop.send("POST", "/stock/milk/adjustments", counted, Idempotency_Key="k").status_code == 200


@pytest.mark.parametrize("command", [each for each in ONCE if "{order}" in each.path or "milk" in each.path][1:])
def test_what_has_changed_since_the_sender_saw_it_is_not_changed(shop: Shop, command: Once) -> None:
    shop.stocked()
    path = command.path.format(order=shop.order(milk=1).get_json()["id"])
    before = published(shop)
    assert shop.send(command.method, path, command.body, If_Match='"2"').status_code == 412
    assert published(shop) == before
    assert shop.send(command.method, path, command.body, If_Match='"1"').status_code == 200


def test_a_customers_orders_come_in_pages_the_newest_first(shop: Shop) -> None:
    shop.stocked()
    placed = [shop.order(f"key-{number}", milk=1).get_json()["id"] for number in range(5)]
    shop.deliver()
    newest_first = placed[::-1]
    pages = [newest_first[:2], newest_first[2:4], newest_first[4:]]
    assert shop.pages("/customers/ada/orders?limit=2", "orders", "id") == pages
    assert shop.get("/customers/nobody/orders") == {"orders": [], "next_cursor": None}
    [newest] = shop.get("/customers/ada/orders?limit=1")["orders"]
    assert newest == {
        "id": newest_first[0],
        "version": 3,
        "customer_id": "ada",
        "status": "confirmed",
        "currency": "USD",
        "total_minor": 150,
        "due_minor": 150,
        "placed_at": NOW,
    }


def test_a_customers_orders_are_found_by_status_and_by_time(shop: Shop) -> None:
    shop.stocked()
    first, second, third = [shop.order(f"key-{number}", milk=1).get_json()["id"] for number in range(3)]
    shop.deliver()
    shop.send("POST", f"/orders/{second}/cancel")
    shop.deliver()

    def ids(filters: str) -> list[str]:
        [page] = shop.pages(f"/customers/ada/orders?{filters}", "orders", "id")
        return page

    assert ids("status=confirmed") == [third, first]
    assert ids("status=cancelled") == [second]
    assert ids("status=placed") == []
    assert ids(f"from={NOW}") == [third, second, first], "this time is in"
    assert ids("from=2026-01-01T12:00:00.000001Z") == []
    assert ids(f"to={NOW}") == [], "this time is not"
    assert ids("to=2026-01-01T12:00:00.000001Z&status=confirmed") == [third, first]
    assert ids("from=2026-01-01t13:00:00%2B01:00") == [third, second, first], "in another zone"
    assert ids("from=2026-01-01T12:00:00Z&to=2026-01-01T11:00:00Z") == []


def test_products_are_found_by_any_filters_together_in_order_of_sku(shop: Shop) -> None:
    said = {
        "d": {"department": "GROCERY", "category": "DAIRY", "brand": "National"},
        "a": {"department": "GROCERY", "category": "DAIRY", "brand": "Private"},
        "b": {"department": "GROCERY", "category": "BREAD", "brand": "National"},
        "c": {"department": "", "category": "BREAD", "brand": "National"},
        "e": {"department": "GROCERY", "category": "DAIRY", "brand": "National"},
    }
    products = [MILK | fields | {"sku": sku} for sku, fields in said.items()]
    shop.send("POST", "/products:batch", {"products": products})
    shop.send("DELETE", "/products/e")
    shop.deliver()

    def skus(filters: str) -> list[str]:
        [page] = shop.pages(f"/products?{filters}", "products", "sku")
        return page

    for size in range(4):
        for names in combinations(("department", "category", "brand"), size):
            for sku, fields in said.items():
                filters = "&".join(f"{name}={fields[name]}" for name in names)
                alike = [other for other in said if all(said[other][name] == fields[name] for name in names)]
                assert skus(filters) == sorted({*alike} - {"e"}), (sku, filters)
                assert skus(f"{filters}&archived=true") == [other for other in alike if other == "e"]
    assert shop.get("/products?limit=1")["products"][0] == shop.get("/products/a")
    assert shop.pages("/products?limit=3", "products", "sku") == [["a", "b", "c"], ["d"]]


def test_what_changes_between_two_pages_makes_no_other_product_come_twice_or_be_missed(shop: Shop) -> None:
    shop.send("POST", "/products:batch", {"products": [MILK | {"sku": sku} for sku in "bdfhj"]})
    shop.deliver()
    page = shop.get("/products?limit=2&department=GROCERY")
    seen = [product["sku"] for product in page["products"]]
    shop.send("POST", "/products:batch", {"products": [MILK | {"sku": sku} for sku in "ag"]})
    shop.send("DELETE", "/products/d")
    shop.send("PATCH", "/products/h", {"department": "DRUG GM"})
    shop.send("PATCH", "/products/j", {"name": "Another"})
    shop.deliver()
    rest = shop.get(f"/products?limit=9&department=GROCERY&cursor={page['next_cursor']}")["products"]
    assert [*seen, *(product["sku"] for product in rest)] == ["b", "d", "f", "g", "j"]


def test_a_cursor_is_good_for_its_own_list_with_its_own_filters_alone(shop: Shop) -> None:
    shop.stocked()
    for number in range(3):
        shop.order(f"key-{number}", milk=1)
    shop.deliver()
    asked = {
        "/products?limit=1": ["/products?limit=1&archived=true", "/products?limit=1&brand=National"],
        "/stock?below=99&limit=1": ["/stock?below=98&limit=1", "/products?limit=1"],
        "/customers/ada/orders?limit=1": [
            "/customers/eve/orders?limit=1",
            "/customers/ada/orders?limit=1&status=confirmed",
            f"/customers/ada/orders?limit=1&from={NOW}",
        ],
    }
    for path, others in asked.items():
        cursor = shop.get(path)["next_cursor"]
        shop.get(f"{path}0&cursor={cursor}")  # another limit
        for other in others:
            answer = shop.send("GET", f"{other}&cursor={cursor}")
            assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, "cursor"), other


def test_what_is_unknown_is_not_found(shop: Shop) -> None:
    unknown = "01900000-0000-7000-8000-000000000009"
    for path in ("/products/none", "/stock/none", f"/orders/{unknown}"):
        assert shop.send("GET", path).status_code == 404, path
    assert shop.send("POST", f"/orders/{unknown}/cancel").status_code == 404


def test_an_outcome_of_an_order_that_is_not_there_waits(shop: Shop) -> None:
    with pytest.raises(NotYet):
        shop.life.hearing()["orders.reservations"](life("marea.reservation")[:1])


def test_a_product_is_copied_as_its_last_event_says(shop: Shop) -> None:
    created, updated, archived = life("marea.product")
    shop.life.hearing()["orders.prices"]([created, updated])
    assert shop.orders.prices(["milk"])["milk"].price_minor == updated.data["price_minor"]
    shop.life.hearing()["orders.prices"]([archived])
    assert shop.orders.prices(["milk"]) == {}


def ids_of(told: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(case["about"], case["kind"]) for case in told]


def test_an_order_is_packed_sent_and_completed(shop: Shop) -> None:
    shop.stocked()
    order = shop.get(f"/orders/{shop.sent(milk=2)}")
    assert (order["status"], order["payment"]["status"]) == ("completed", "paid")
    [parcel] = order["fulfilment"]["shipments"]
    assert (parcel["status"], parcel["amount_minor"]) == ("delivered", 300)
    assert shop.get("/stock/milk")["on_hand"] == 8


STAFFS = [
    ("/orders/{order}/goodwill", {"amount_minor": 1, "reason": "late"}),
    ("/fulfilments/{order}/shipments/1/pack", None),
    ("/fulfilments/{order}/shipments/1/dispatch", None),
    ("/fulfilments/{order}/shipments/1/ruling", {"outcome": "lost", "reason": "seen"}),
    ("/payments/{order}/operations/1/ruling", {"outcome": "failed", "reason": "seen"}),
    ("/payments/{order}/operations/1/retry", {"reason": "seen"}),
    ("/returns/{order}/1/approve", None),
    ("/returns/{order}/1/reject", {"reason": "opened"}),
    ("/returns/{order}/1/receive", None),
    ("/returns/{order}/1/accept", {"restock": True}),
]


@pytest.mark.parametrize(("path", "body"), STAFFS)
@pytest.mark.parametrize("said", ["", "Bearer", "Bearer wrong", f"Basic {KEY}"])
def test_what_is_for_staff_is_done_for_nobody_else(shop: Shop, path: str, body: Any, said: str) -> None:
    shop.stocked()
    order_id = shop.order(milk=1).get_json()["id"]
    shop.deliver()
    before = published(shop)
    answer = shop.send("POST", path.format(order=order_id), body, **({"Authorization": said} if said else {}))
    assert (answer.status_code, published(shop)) == (401, before)
    assert "WWW-Authenticate" in answer.headers


@pytest.mark.parametrize(("path", "body"), [*STAFFS, ("/orders/{order}/cancellations", {"lines": [{"sku": "milk", "quantity": 1}]}), ("/payments/{order}/card", {"card_token": "tok_1"}), ("/returns/{order}", {"lines": [{"sku": "milk", "quantity": 1}]}), ("/returns/{order}/1/cancel", None)])
def test_a_command_about_an_order_that_is_not_there_finds_nothing(shop: Shop, path: str, body: Any) -> None:
    answer = shop.send("POST", path.format(order=uuid4()), body, **STAFF)
    assert answer.status_code in (404, 409), answer.text
    assert published(shop) == 0


def test_units_are_cancelled_and_never_more_than_there_are(shop: Shop) -> None:
    shop.stocked()
    order_id = shop.order(milk=3).get_json()["id"]
    path = f"/orders/{order_id}/cancellations"
    one = {"lines": [{"sku": "milk", "quantity": 1}]}
    assert shop.send("POST", path, one).status_code == 409, "it is not confirmed yet"
    shop.deliver()
    for sku, quantity in (("milk", 4), ("bread", 1)):
        refused = shop.send("POST", path, {"lines": [{"sku": sku, "quantity": quantity}]})
        assert (refused.status_code, refused.get_json()["errors"][0]["field"]) == (422, "units")
    assert shop.send("POST", path, one).get_json()["status"] == "stopping"
    shop.deliver()
    order = shop.get(f"/orders/{order_id}")
    assert (order["status"], order["due_minor"], order["lines"][0]["cancelled"]) == ("confirmed", 300, 1)
    assert shop.get("/stock/milk")["reserved"] == 2


def test_goodwill_is_paid_back_audited_and_no_more_than_is_due(shop: Shop) -> None:
    shop.stocked()
    order_id = shop.sent(milk=2)
    path = f"/orders/{order_id}/goodwill"
    assert shop.send("POST", path, {"amount_minor": 301, "reason": "late"}, **STAFF).status_code == 422
    assert shop.send("POST", path, {"amount_minor": 100, "reason": "late"}, **STAFF).get_json()["due_minor"] == 200
    shop.deliver()
    assert shop.get(f"/payments/{order_id}")["refunded_minor"] == 100
    [note] = shop.orders.notes
    assert (note.command, note.reason, note.data) == ("goodwill", "late", {"amount_minor": 100})


def test_a_return_is_asked_for_approved_received_and_paid_back(shop: Shop) -> None:
    shop.stocked()
    order_id = shop.sent(milk=2)
    two = {"lines": [{"sku": "milk", "quantity": 2}]}
    assert shop.send("POST", f"/returns/{order_id}", two).get_json()["returns"][0]["status"] == "requested"
    assert shop.send("POST", f"/returns/{order_id}", {"lines": [{"sku": "milk", "quantity": 1}]}).status_code == 422
    shop.deliver()
    listed = shop.send("GET", "/cases", **STAFF).get_json()["cases"]
    assert ids_of(listed) == [("returns", "return requested")]
    for step, body in (("approve", None), ("receive", None), ("accept", {"restock": True, "value_minor": 200})):
        assert shop.send("POST", f"/returns/{order_id}/1/{step}", body, **STAFF).status_code == 200
    shop.deliver()
    assert shop.get(f"/returns/{order_id}")["returns"][0]["status"] == "refunded"
    assert (shop.get(f"/orders/{order_id}")["due_minor"], shop.get(f"/payments/{order_id}")["refunded_minor"]) == (100, 200)
    assert shop.get("/stock/milk")["on_hand"] == 10
    assert shop.send("POST", f"/returns/{order_id}/1/cancel").status_code == 409


def test_what_comes_back_is_worth_no_more_than_it_cost(shop: Shop) -> None:
    shop.stocked()
    order_id = shop.sent(milk=1)
    shop.send("POST", f"/returns/{order_id}", {"lines": [{"sku": "milk", "quantity": 1}]})
    for step in ("approve", "receive"):
        shop.send("POST", f"/returns/{order_id}/1/{step}", **STAFF)
    answer = shop.send("POST", f"/returns/{order_id}/1/accept", {"restock": True, "value_minor": 151}, **STAFF)
    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, "value_minor")


def test_an_exchange_pays_for_the_new_order_with_what_came_back(shop: Shop) -> None:
    shop.stocked()
    order_id = shop.sent(milk=2)
    asked = {
        "order_id": order_id,
        "give_back": [{"sku": "milk", "quantity": 1}],
        "lines": [{"sku": "bread", "quantity": 1}],
        "card_token": "tok_approved",
    }
    exchange = shop.send("POST", "/exchanges", asked)
    assert (exchange.status_code, exchange.get_json()["step"]) == (201, "reserving")
    shop.deliver()
    for step, body in (("approve", None), ("receive", None), ("accept", {"restock": True})):
        assert shop.send("POST", f"/returns/{order_id}/1/{step}", body, **STAFF).status_code == 200
    shop.deliver()
    found = shop.get(f"/exchanges/{exchange.get_json()['exchange_id']}")
    assert (found["step"], found["credit_minor"]) == ("finished", 150)
    assert shop.get(f"/orders/{found['new_order_id']}")["due_minor"] == 50
    assert shop.send("POST", "/exchanges", asked | {"order_id": str(uuid4())}).status_code == 404
    assert shop.send("POST", "/exchanges", asked | {"lines": [{"sku": "gold", "quantity": 1}]}).status_code == 422


def test_units_of_an_order_are_exchanged_so_often_and_no_more(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each leaves something with the order, and in the events of its returns: a refused one, too."""
    monkeypatch.setattr(exchanges, "MOST", 2)
    shop.stocked()
    order_id = shop.sent(milk=1)
    asked = {"order_id": order_id, "give_back": [{"sku": "milk", "quantity": 5}], "lines": [{"sku": "bread", "quantity": 1}]}
    for _ in range(2):
        assert shop.send("POST", "/exchanges", asked).status_code == 201
        shop.deliver()
    assert [(each["status"], each["units"]) for each in shop.get(f"/returns/{order_id}")["returns"]] == [("rejected", [])] * 2
    assert shop.send("POST", "/exchanges", asked).status_code == 409


def test_another_card_pays_for_what_the_first_could_not(shop: Shop) -> None:
    shop.stocked()
    order_id = shop.send("POST", "/orders", ORDER | {"card_token": "tok_capture_declined"}).get_json()["id"]
    shop.deliver()
    shop.send("POST", f"/fulfilments/{order_id}/shipments/1/pack", **STAFF)
    shop.deliver()
    assert shop.get(f"/fulfilments/{order_id}")["shipments"][0]["status"] == "held"
    assert ids_of(shop.send("GET", "/cases", **STAFF).get_json()["cases"]) == [("fulfilment", "held")]
    assert shop.send("POST", f"/payments/{order_id}/card", {"card_token": "4242 4242"}).status_code == 422
    assert shop.send("POST", f"/payments/{order_id}/card", {"card_token": "tok_approved"}).status_code == 200
    shop.deliver()
    assert shop.get(f"/fulfilments/{order_id}")["shipments"][0]["status"] == "ready"
    assert shop.send("POST", f"/payments/{order_id}/card", {"card_token": "tok_approved"}).status_code == 409


def test_cases_are_for_staff_and_settled_with_an_audit_row(shop: Shop) -> None:
    shop.stocked()
    order_id = shop.sent(milk=1)
    assert shop.send("GET", "/cases").status_code == 401
    shop.life.scan(order_id, 1, "lost")
    shop.deliver()
    assert ids_of(shop.send("GET", "/cases?about=fulfilment", **STAFF).get_json()["cases"]) == [("fulfilment", "contradicted")]
    ruled = shop.send("POST", f"/fulfilments/{order_id}/shipments/1/ruling", {"outcome": "delivered", "reason": "seen"}, **STAFF)
    assert (ruled.status_code, ruled.get_json()["cases"]) == (200, [])
    assert [(note.command, note.reason) for note in shop.shipping.notes] == [("rule", "seen")]
    shop.deliver()
    assert shop.send("GET", "/cases", **STAFF).get_json()["cases"] == []


def test_a_webhook_counts_once_and_only_with_a_good_signature_of_now(shop: Shop) -> None:
    shop.stocked()
    order_id = shop.order(milk=1).get_json()["id"]
    shop.deliver()
    shop.life.provider.capture(f"{order_id}.2", shop.get(f"/payments/{order_id}")["operations"][0]["reference"], 150)
    [(headers, body)] = shop.life.provider.webhooks()
    client, path = shop._clients["payments"], "/v1/webhooks/provider"  # noqa: SLF001  # as the provider sends it
    assert client.post(path, data=body).status_code == 401
    assert client.post(path, data=body + b" ", headers=headers).status_code == 401
    assert not shop.payments.told or len(shop.payments.told) == 1
    assert [client.post(path, data=body, headers=headers).status_code for _ in range(2)] == [204, 204]
    shop.life.now += timedelta(minutes=6)
    assert client.post(path, data=body, headers=headers).status_code == 401, "it is replayed"


def test_the_carriers_webhook_says_where_a_parcel_is_and_is_signed(shop: Shop) -> None:
    shop.stocked()
    order_id = shop.order(milk=1).get_json()["id"]
    shop.deliver()
    for step in ("pack", "dispatch"):
        shop.send("POST", f"/fulfilments/{order_id}/shipments/1/{step}", **STAFF)
        shop.deliver()
    shop.life.now += timedelta(days=2)
    [(headers, body)] = shop.life.carrier.webhooks()
    client, path = shop._clients["fulfilments"], "/v1/webhooks/carrier"  # noqa: SLF001  # as the carrier sends it
    assert client.post(path, data=body, headers={}).status_code == 401
    assert [client.post(path, data=body, headers=headers).status_code for _ in range(2)] == [204, 204]
    shop.deliver()
    assert shop.get(f"/fulfilments/{order_id}")["shipments"][0]["status"] == "delivered"
