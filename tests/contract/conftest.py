"""A database that has the services' schemas and no relay, so that nothing of what happens there is ever published; and the
services' stores there, and in memory."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import uuid4

import psycopg2
import pytest

from api.catalog.store import Catalog
from api.inventory.store import Inventory
from api.orders.store import Orders
from api.payments.store import Payments
from api.services import service as manifest
from api.shipping.store import Shipping
from kernel.answers import Answer, Command
from kernel.database import Database
from kernel.outbox import Outbox
from local.layout import Layout, databases
from local.stack import Stack
from ops.databases import admin
from ops.migrate import make_schemas
from ops.outboxes import make_partitions
from tests.events import CODEC, START
from tests.memory_services import (
    MemoryCatalog,
    MemoryDatabase,
    MemoryInventory,
    MemoryOrders,
    MemoryPayments,
    MemoryShipping,
)

Store = TypeVar("Store")

DATABASE = "contract"
STORES: dict[str, tuple[Callable[..., Any], Callable[[], Any]]] = {
    "catalog": (Catalog, MemoryCatalog),
    "inventory": (Inventory, MemoryInventory),
    "orders": (Orders, MemoryOrders),
    "payments": (Payments, MemoryPayments),
    "shipping": (Shipping, MemoryShipping),
}


class Subject(NamedTuple, Generic[Store]):
    """A service's database, what was published about a key, and a word that makes keys unlike other tests'."""

    database: Database[Store]
    published: Callable[[str], list[tuple[str, int]]]
    mine: str


@pytest.fixture(scope="session")
def layout(stack: Stack) -> Layout:
    """That of the stack; its database DATABASE is ready for events of now and of those that tests tell of."""
    url = stack.layout.database_url("admin", DATABASE)
    make_schemas(url, databases())
    with admin(url) as cursor:
        for service in databases():
            for moment in (START, datetime.now(UTC)):
                make_partitions(cursor, service, moment)
    return stack.layout


@pytest.fixture(params=["memory", "postgres"])
def subject(request: pytest.FixtureRequest, service: str) -> Iterator[Subject[Any]]:
    real, memory = STORES[service]
    if request.param == "memory":
        kept = memory()
        yield Subject(
            MemoryDatabase(kept),
            lambda key: [(event.type, event.version) for event in kept.published if event.key == key],
            "mine",
        )
        return
    layout: Layout = request.getfixturevalue("layout")
    outbox = Outbox[Any](service, manifest(service).topics, lambda: CODEC)
    database = Database(
        layout.database_url(service, DATABASE), service, lambda cursor: real(cursor, outbox)
    )
    with closing(psycopg2.connect(layout.database_url("admin", DATABASE))) as connection:
        connection.autocommit = True

        def published(key: str) -> list[tuple[str, int]]:
            with connection.cursor() as cursor:
                cursor.execute(
                    f"SELECT type, version FROM {service}.outbox WHERE aggregateid = %s ORDER BY version", (key,)
                )
                rows: list[tuple[str, int]] = cursor.fetchall()
                return rows

        yield Subject(database, published, uuid4().hex[:12])


def answer(key: str, body: bytes = b"{}", caller: str = "ada", route: str = "POST /v1/orders") -> Answer:
    """Of a command with this key."""
    return Answer(Command(caller, route, key, b"hash"), 201, {"ETag": '"1"'}, body)
