"""The inventory."""

from typing import TYPE_CHECKING

from api.inventory import reactions, store
from api.inventory.store import Inventory
from api.manifest import Resources, Service
from kernel.clock import SYSTEM
from kernel.events import codec
from kernel.outbox import Outbox
from schemas import reservation, stock
from streams.tables import inventory as tables
from streams.views import inventory as views

if TYPE_CHECKING:
    from flask_openapi3.openapi import OpenAPI  # a worker need not have it

TOPICS = (stock.TOPIC, reservation.TOPIC)


def _create_app(given: Resources) -> "OpenAPI":
    from api.inventory import routes

    return routes.create_app(given.database(Inventory), given.views, given.clock)


SERVICE = Service(
    name="inventory",
    number=2,
    summary="What is in the warehouse, and what of it is promised.",
    create_app=_create_app,
    paths=("stock",),
    topics=TOPICS,
    states=store.STATES,
    books=store.BOOKS,
    reactions=reactions.reactions(Outbox("inventory", TOPICS, codec), SYSTEM),
    views=views,
    tables=tables,
)
