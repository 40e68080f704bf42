"""Orders."""

from datetime import timedelta
from typing import TYPE_CHECKING

from api.manifest import Resources, Service
from api.orders import deadlines, gauges, reactions, store
from api.orders.store import Orders
from kernel.clock import SYSTEM
from kernel.events import codec
from kernel.outbox import Outbox
from schemas import order
from schemas.order import OrderEvent
from streams.tables import orders as tables
from streams.views import orders as views

if TYPE_CHECKING:
    from flask_openapi3.openapi import OpenAPI  # a worker need not have it

TOPICS = (order.TOPIC,)


def _create_app(given: Resources) -> "OpenAPI":
    from api.orders import routes

    pay_by = timedelta(seconds=float(given.settings["PAY_BY_S"]))
    return routes.create_app(given.database(Orders), given.views, given.clock, pay_by)


_OUTBOX = Outbox[OrderEvent]("orders", TOPICS, codec)

SERVICE = Service(
    name="orders",
    number=3,
    summary="Placing orders, and what becomes of them.",
    create_app=_create_app,
    paths=("orders", "customers"),
    topics=TOPICS,
    states=store.STATES,
    reactions=reactions.reactions(_OUTBOX, SYSTEM),
    deadlines=deadlines.deadlines(_OUTBOX),
    gauges=gauges.GAUGES,
    settings={"PAY_BY_S": "900"},
    views=views,
    tables=tables,
)
