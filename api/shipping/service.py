"""Shipping."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from api.manifest import Resources, Service
from api.shipping import calls, deadlines, gauges, reactions, store
from api.shipping.carrier import Carrier
from api.shipping.store import Shipping
from kernel.clock import SYSTEM
from kernel.events import codec
from kernel.outbox import Outbox
from schemas import fulfilment, returns
from schemas.fulfilment import FulfilmentEvent
from schemas.returns import ReturnsEvent
from streams.tables import shipping as tables
from streams.views import shipping as views

if TYPE_CHECKING:
    from flask_openapi3.openapi import OpenAPI  # a worker need not have it

TOPICS = (fulfilment.TOPIC, returns.TOPIC)


def _create_app(given: Resources) -> "OpenAPI":
    from functools import partial

    from api.shipping import routes
    from api.shipping.simulated import parse_webhook
    from api.web.webhooks import secrets_of

    parse = partial(parse_webhook, secrets=secrets_of(given.settings["CARRIER_WEBHOOK_SECRETS"]))
    return routes.create_app(given.database(Shipping), given.views, given.clock, parse, given.settings["OPERATOR_KEY"])


def open_carrier(setting: Callable[[str], str]) -> Carrier:
    """The carrier that the settings name."""
    from api.shipping.simulated import SimulatedCarrier

    return SimulatedCarrier(setting("CARRIER_URL"), setting("CARRIER_KEY"))


_OUTBOX = Outbox[FulfilmentEvent | ReturnsEvent]("shipping", TOPICS, codec)

SERVICE = Service(
    name="shipping",
    number=6,
    summary="Parcels on their way out, and what comes back.",
    create_app=_create_app,
    paths=("fulfilments", "returns", "webhooks/carrier"),
    topics=TOPICS,
    states=store.STATES,
    books=store.BOOKS,
    reactions=reactions.reactions(_OUTBOX, SYSTEM),
    deadlines=deadlines.deadlines(_OUTBOX),
    calls=calls.calls(_OUTBOX, open_carrier),
    gauges=gauges.GAUGES,
    secrets=("OPERATOR_KEY", "CARRIER_WEBHOOK_SECRETS"),
    views=views,
    tables=tables,
)
