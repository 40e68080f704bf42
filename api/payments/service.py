"""Payments."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from api.manifest import Resources, Service
from api.payments import calls, gauges, reactions, store
from api.payments.provider import Provider
from api.payments.store import Payments
from kernel.clock import SYSTEM
from kernel.events import codec
from kernel.outbox import Outbox
from schemas import payment
from schemas.payment import PaymentEvent
from streams.tables import payments as tables
from streams.views import payments as views

if TYPE_CHECKING:
    from flask_openapi3.openapi import OpenAPI  # a worker need not have it

TOPICS = (payment.TOPIC,)


def _create_app(given: Resources) -> "OpenAPI":
    from functools import partial

    from api.payments import routes
    from api.payments.simulated import parse_webhook
    from api.web.webhooks import secrets_of

    parse = partial(parse_webhook, secrets=secrets_of(given.settings["PROVIDER_WEBHOOK_SECRETS"]))
    return routes.create_app(given.database(Payments), given.views, given.clock, parse, given.settings["OPERATOR_KEY"])


def open_provider(setting: Callable[[str], str]) -> Provider:
    """The provider that the settings name."""
    from api.payments.simulated import SimulatedProvider

    return SimulatedProvider(setting("PROVIDER_URL"), setting("PROVIDER_KEY"))


_OUTBOX = Outbox[PaymentEvent]("payments", TOPICS, codec)

SERVICE = Service(
    name="payments",
    number=5,
    summary="Money: held, taken and given back, as is due.",
    create_app=_create_app,
    paths=("payments", "webhooks/provider"),
    topics=TOPICS,
    states=store.STATES,
    books=store.BOOKS,
    books_outside={"ledger": lambda setting: calls.ledger(open_provider(setting))},
    reactions=reactions.reactions(_OUTBOX, SYSTEM),
    calls=calls.calls(_OUTBOX, open_provider),
    gauges=gauges.GAUGES,
    secrets=("OPERATOR_KEY", "PROVIDER_WEBHOOK_SECRETS"),
    views=views,
    tables=tables,
)
