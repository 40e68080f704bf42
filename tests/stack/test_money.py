"""Money and goods that have gone astray are found, and told per order."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from psycopg2.extensions import cursor as Cursor

from local.stack import Stack
from ops.balance import LINES
from ops.databases import admin, admin_url, database_of
from tests.stack.compared import compared
from tests.stack.whole import House


@pytest.fixture(scope="module")
def house(stack: Stack) -> House:
    return House()


@pytest.fixture(scope="module")
def sku(house: House) -> str:
    return house.stocked("mug", 1_000)


@pytest.fixture(scope="module")
def completed(house: House, sku: str) -> str:
    """An order of two units, for 300, that has come to its end; nothing differs."""
    order_id = house.completed(sku)
    assert found() == {}
    return order_id


def found() -> dict[tuple[str, str], set[str]]:
    """The fields that differ, by line and key."""
    fields: dict[tuple[str, str], set[str]] = {}
    for each in compared(*LINES).differences:
        fields.setdefault((each.consumer, each.key), set()).add(each.field)
    return fields


@contextmanager
def service(name: str) -> Iterator[Cursor]:
    with admin(admin_url(database_of(name)), search_path=name) as cursor:
        yield cursor


@contextmanager
def changed(name: str, table: str, id_: str, path: str, value: str) -> Iterator[None]:
    """A field of an aggregate's state is another one for as long as a `with` lasts."""
    with service(name) as cursor:
        cursor.execute(f"SELECT state::text FROM {table} WHERE id = %s", (id_,))
        [state] = cursor.fetchone() or [None]
        cursor.execute(f"UPDATE {table} SET state = jsonb_set(state, %s::text[], %s::jsonb) WHERE id = %s", (path, value, id_))
        try:
            yield
        finally:
            cursor.execute(f"UPDATE {table} SET state = %s::jsonb WHERE id = %s", (state, id_))


@contextmanager
def deleted_at_the_provider(stack: Stack, operation_id: str) -> Iterator[None]:
    path = stack.layout.data("provider") / "provider.sqlite"
    with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as provider:
        row: tuple[Any, ...] = provider.execute("SELECT * FROM operation WHERE id = ?", (operation_id,)).fetchone()
        provider.execute("DELETE FROM operation WHERE id = ?", (operation_id,))
        try:
            yield
        finally:
            provider.execute(f"INSERT INTO operation VALUES ({', '.join('?' * len(row))})", row)


def test_a_capture_that_the_provider_does_not_know_is_found(stack: Stack, completed: str) -> None:
    with deleted_at_the_provider(stack, f"{completed}.2"):
        assert found() == {("money.ledger", f"{completed}.2"): {"*"}}
    assert found() == {}


def test_another_amount_than_the_providers_is_found(completed: str) -> None:
    with changed("payments", "payment", completed, "{operations,1,amount_minor}", "250"):
        assert found() == {
            ("money.ledger", f"{completed}.2"): {"amount_minor"},
            ("money.due", completed): {"paid_minor", "sent_minor"},
        }


def test_an_order_that_owes_something_else_than_was_paid_is_found(completed: str) -> None:
    with changed("orders", "orders", completed, "{due_minor}", "200"):
        assert found() == {("money.due", completed): {"paid_minor"}}


def test_units_that_were_sent_and_are_still_promised_are_found(completed: str, sku: str) -> None:
    with changed("inventory", "reservation", completed, "{lines,0,consumed}", "1"):
        assert found() == {
            ("goods.sent", f"{completed}/{sku}"): {"left", "sent"},
            ("goods.stock", sku): {"reserved"},
        }


def test_an_order_that_waits_for_nothing_is_found(house: House, sku: str) -> None:
    order_id = house.placed([(sku, 2)])
    assert found() == {}
    with service("orders") as cursor:
        cursor.execute("DELETE FROM deadline WHERE aggregate_id = %s RETURNING due_at, try_at", (order_id,))
        moments = cursor.fetchone()
        try:
            assert found() == {("order.waiting", order_id): {"waits_for"}}
        finally:
            cursor.execute("INSERT INTO deadline VALUES (%s, 'pay_by', %s, %s)", (order_id, *(moments or ())))
    assert found() == {}
