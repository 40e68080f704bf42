"""Orders."""

from datetime import timedelta
from typing import TYPE_CHECKING

from api.manifest import Resources, Service
from api.orders import deadlines, gauges, reactions, rules, store
from api.orders.store import Orders
from kernel.clock import SYSTEM
from kernel.events import codec
from kernel.outbox import Outbox
from schemas import exchange, order
from schemas.exchange import ExchangeEvent
from schemas.order import OrderEvent
from streams.tables import orders as tables
from streams.views import orders as views

if TYPE_CHECKING:
    from flask_openapi3.openapi import OpenAPI  # a worker need not have it

TOPICS = (order.TOPIC, exchange.TOPIC)


def _create_app(given: Resources) -> "OpenAPI":
    from api.orders import routes

    pay, exchange = (timedelta(seconds=float(given.settings[name])) for name in ("PAY_BY_S", "EXCHANGE_BY_S"))
    times = routes.Times(pay, exchange)
    return routes.create_app(given.database(Orders), given.views, given.clock, times, given.settings["OPERATOR_KEY"])


_OUTBOX = Outbox[OrderEvent | ExchangeEvent]("orders", TOPICS, codec)

SERVICE = Service(
    name="orders",
    number=3,
    summary="Placing orders, exchanging them, and what becomes of them.",
    create_app=_create_app,
    paths=("orders", "customers", "exchanges", "cases"),
    topics=TOPICS,
    states=store.STATES,
    books=store.BOOKS,
    reactions=reactions.reactions(_OUTBOX, SYSTEM, rules.HOLD),
    deadlines=deadlines.deadlines(_OUTBOX),
    gauges=gauges.GAUGES,
    settings={"PAY_BY_S": "900", "EXCHANGE_BY_S": "2592000"},
    secrets=("OPERATOR_KEY",),
    views=views,
    tables=tables,
)
