"""What routes and reactions ask of their service's store: one set of tests for PostgreSQL and for memory."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from psycopg2.errors import ReadOnlySqlTransaction

from api.catalog.rules import Product
from api.catalog.store import Catalog
from api.inventory.rules import Stock
from api.inventory.store import Inventory
from api.orders.placing import Price
from api.orders.store import Orders, PricesMoved
from api.payments.store import Payments
from api.shipping.store import Shipping
from kernel.answers import AlreadyAnswered
from schemas.event import Event
from tests.contract.conftest import STORES, Subject, answer
from tests.events import PLACED, PRODUCT, START


def of(service: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("service", [service])


def event(type_: str, key: str, version: int, data: dict[str, Any]) -> Event:
    return Event(str(uuid4()), type_, key, version, START + timedelta(seconds=version), data)


def created(sku: str, **changes: Any) -> Event:
    return event("ProductCreated", sku, 1, PRODUCT | {"sku": sku} | changes)


def received(sku: str, version: int, on_hand: int) -> Event:
    data = {"sku": sku, "quantity": 5, "on_hand": on_hand, "reserved": 0}
    return event("StockReceived", sku, version, data)


def placed(order_id: str) -> Event:
    return event("OrderPlaced", order_id, 1, PLACED | {"order_id": order_id})


@of("catalog")
def test_a_sku_is_created_once(subject: Subject[Catalog]) -> None:
    with subject.database.statements() as catalog:
        assert catalog.create(created(subject.mine), None)
        assert not catalog.create(created(subject.mine, name="Another"), None)
    with subject.database.transaction() as catalog:
        assert catalog.lock(subject.mine) == Product(1, archived=False, data=created(subject.mine).data)
        assert catalog.lock(f"{subject.mine}-other") is None
    assert subject.published(subject.mine) == [("ProductCreated", 1)]


@of("catalog")
def test_of_many_products_those_are_created_whose_sku_is_free(subject: Subject[Catalog]) -> None:
    taken, free = f"{subject.mine}-1", f"{subject.mine}-0"
    with subject.database.transaction() as catalog:
        assert catalog.create_many([]) == []
        for expected in (taken, free):
            events = catalog.create_many([created(each) for each in {taken, expected}])
            assert [event.key for event in events] == [expected]
            catalog.publish(events, None)
    assert subject.published(taken) == subject.published(free) == [("ProductCreated", 1)]


@of("catalog")
def test_a_change_of_a_product_is_kept_and_published(subject: Subject[Catalog]) -> None:
    sku = subject.mine
    with subject.database.transaction() as catalog:
        catalog.create(created(sku), None)
        catalog.update(event("ProductUpdated", sku, 2, PRODUCT | {"sku": sku, "price_minor": 175}), None)
        catalog.update(event("ProductArchived", sku, 3, PRODUCT | {"sku": sku, "price_minor": 175}), None)
        now = catalog.lock(sku)
    assert now
    assert (now.version, now.data["price_minor"], now.archived) == (3, 175, True)
    assert subject.published(sku) == [("ProductCreated", 1), ("ProductUpdated", 2), ("ProductArchived", 3)]


@of("catalog")
def test_a_transaction_that_raises_leaves_nothing(subject: Subject[Catalog]) -> None:
    def change_and_fail() -> None:
        with subject.database.transaction() as catalog:
            catalog.create(created(subject.mine), None)
            raise KeyError("poison")

    with pytest.raises(KeyError):
        change_and_fail()
    with subject.database.transaction() as catalog:
        assert catalog.lock(subject.mine) is None
    assert subject.published(subject.mine) == []


@of("catalog")
def test_what_does_not_fit_its_schema_is_not_kept(subject: Subject[Catalog]) -> None:
    with pytest.raises((ValueError, TypeError)), subject.database.transaction() as catalog:
        catalog.create(created(subject.mine, price_minor="much"), None)
    with subject.database.transaction() as catalog:
        assert catalog.lock(subject.mine) is None


@of("inventory")
def test_only_stock_items_that_exist_are_locked_unless_they_are_to_be_added(subject: Subject[Inventory]) -> None:
    old, new = f"{subject.mine}-1", f"{subject.mine}-0"
    with subject.database.transaction() as inventory:
        assert inventory.lock([old, new]) == {}
        assert inventory.lock_or_add([old]) == {old: Stock(old)}
        inventory.save([received(old, 1, 5)], START)
        assert inventory.lock([old, new]) == {old: Stock(old, 1, 5, 0)}
        assert inventory.lock_or_add([old, new]) == {old: Stock(old, 1, 5, 0), new: Stock(new)}


@of("inventory")
def test_the_last_event_of_a_stock_item_says_how_it_is(subject: Subject[Inventory]) -> None:
    sku = subject.mine
    with subject.database.transaction() as inventory:
        inventory.lock_or_add([sku])
        inventory.save([received(sku, 1, 5), received(sku, 2, 10)], START)
        inventory.change(received(sku, 3, 15), None)
    with subject.database.transaction() as inventory:
        assert inventory.lock([sku]) == {sku: Stock(sku, 3, 15, 0)}
    assert subject.published(sku) == [("StockReceived", 1), ("StockReceived", 2), ("StockReceived", 3)]


@of("orders")
def test_the_copy_of_a_product_is_what_its_last_event_said_and_has_no_price_once_archived(
    subject: Subject[Orders],
) -> None:
    sku, gone = f"{subject.mine}-1", f"{subject.mine}-0"
    with subject.database.transaction() as orders:
        orders.copy_prices([created(sku), created(gone)])
        dearer = event("ProductUpdated", sku, 2, PRODUCT | {"sku": sku, "price_minor": 175})
        orders.copy_prices([dearer, event("ProductArchived", gone, 2, PRODUCT | {"sku": gone})])
        orders.copy_prices([created(sku), created(gone)])  # again, as after a crash: older than what it knows
    with subject.database.statements() as orders:
        fields: dict[str, Any] = PRODUCT | {"price_minor": 175}
        price = Price(2, *(fields[name] for name in Price._fields[1:]))
        assert orders.prices([sku, gone, "another"]) == {sku: price}


@of("orders")
def test_an_order_is_placed_only_at_the_prices_of_now(subject: Subject[Orders]) -> None:
    sku, order_id = f"{subject.mine}-1", str(uuid4())
    with subject.database.transaction() as orders:
        orders.copy_prices([created(sku)])
        was = orders.prices([sku])
        orders.copy_prices([event("ProductUpdated", sku, 2, PRODUCT | {"sku": sku, "price_minor": 175})])
    kept = answer(subject.mine)
    for prices in (was, was | {"none": was[sku]}):
        with pytest.raises(PricesMoved), subject.database.statements() as orders:
            orders.place(placed(order_id), kept, prices)
    assert subject.published(order_id) == []
    assert subject.database.answer(kept.command) is None
    with subject.database.statements() as orders:
        orders.place(placed(order_id), kept, orders.prices([sku]))
    assert subject.published(order_id) == [("OrderPlaced", 1)]


@of("orders")
def test_a_command_that_is_named_takes_effect_once_and_its_first_answer_is_kept(subject: Subject[Orders]) -> None:
    first, second = str(uuid4()), str(uuid4())
    kept = answer(subject.mine, b'{"id": 1}')
    assert subject.database.answer(kept.command) is None
    with subject.database.statements() as orders:
        orders.place(placed(first), kept, {})
    with pytest.raises(AlreadyAnswered), subject.database.transaction() as orders:
        orders.place(placed(second), answer(subject.mine, b'{"id": 2}'), {})
    assert subject.database.answer(kept.command._replace(request_hash=b"another")) == kept
    assert subject.published(first) == [("OrderPlaced", 1)]
    assert subject.published(second) == []


@of("orders")
def test_the_same_key_of_another_caller_or_at_another_route_is_another_command(subject: Subject[Orders]) -> None:
    for kept in (
        answer(subject.mine),
        answer(subject.mine, caller="bob"),
        answer(subject.mine, route="POST /v1/orders/<order_id>/cancel"),
    ):
        with subject.database.statements() as orders:
            orders.place(placed(str(uuid4())), kept, {})


@of("orders")
def test_an_answer_is_not_kept_when_its_transaction_fails(subject: Subject[Orders]) -> None:
    kept = answer(subject.mine)

    def place_and_fail() -> None:
        with subject.database.transaction() as orders:
            orders.place(placed(str(uuid4())), kept, {})
            raise KeyError("poison")

    with pytest.raises(KeyError):
        place_and_fail()
    assert subject.database.answer(kept.command) is None


@of("inventory")
def test_several_events_have_one_answer(subject: Subject[Inventory]) -> None:
    kept = answer(subject.mine)
    with subject.database.transaction() as inventory:
        inventory.lock_or_add([subject.mine])
        inventory.save([received(subject.mine, 1, 5), received(subject.mine, 2, 10)], START, kept)
    with pytest.raises(AlreadyAnswered), subject.database.transaction() as inventory:
        inventory.save([received(subject.mine, 3, 15)], START, kept)
    assert subject.database.answer(kept.command) == kept
    assert subject.published(subject.mine) == [("StockReceived", 1), ("StockReceived", 2)]


@of("catalog")
def test_what_changes_nothing_has_no_answer(subject: Subject[Catalog]) -> None:
    kept = answer(subject.mine)
    with subject.database.statements() as catalog:
        assert catalog.create(created(subject.mine), None)
        assert not catalog.create(created(subject.mine), kept)
        catalog.publish([], kept)
    assert subject.database.answer(kept.command) is None


@of("payments")
def test_what_the_provider_tells_is_new_once(subject: Subject[Payments]) -> None:
    told = f"told-{subject.mine}"
    with subject.database.transaction() as payments:
        assert payments.keep_webhook(told, "an operation", b"{}", START)
        assert not payments.keep_webhook(told, "an operation", b"{}", START)
    with subject.database.transaction() as payments:
        assert not payments.keep_webhook(told, "an operation", b"{}", START)
        assert payments.keep_webhook(f"{told}-2", "an operation", b"{}", START)


@of("shipping")
def test_the_carriers_number_says_whose_parcel_it_is_and_stays_so(subject: Subject[Shipping]) -> None:
    one, two, tracking = str(uuid4()), str(uuid4()), f"T-{subject.mine}"
    with subject.database.transaction() as shipping:
        assert shipping.labelled(tracking) is None
        shipping.keep_label(tracking, one, 2)
        shipping.keep_label(tracking, two, 1)
        assert shipping.labelled(tracking) == (one, 2)


@pytest.mark.parametrize("service", STORES)
def test_the_twin_in_memory_does_all_that_the_store_does(service: str) -> None:
    real, memory = STORES[service]
    inherited = [name for name, does in vars(real).items() if getattr(memory, name) is does]
    assert [name for name in inherited if not name.startswith("__")] == []


@pytest.mark.parametrize("subject", ["postgres"], indirect=True)
@of("catalog")
def test_a_connection_to_a_server_that_only_reads_is_not_used_again(subject: Subject[Catalog]) -> None:
    with subject.database._session() as session, session.cursor() as cursor:  # noqa: SLF001  # the one that is used next
        cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
    with pytest.raises(ReadOnlySqlTransaction), subject.database.statements() as catalog:
        catalog.create(created(subject.mine), None)
    with subject.database.statements() as catalog:
        assert catalog.create(created(subject.mine), None)
