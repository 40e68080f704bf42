"""The catalog."""

from typing import TYPE_CHECKING

from api.catalog import store
from api.catalog.store import Catalog
from api.manifest import Resources, Service
from schemas import product
from streams.tables import catalog as tables
from streams.views import catalog as views

if TYPE_CHECKING:
    from flask_openapi3.openapi import OpenAPI  # a worker need not have it

TOPICS = (product.TOPIC,)


def _create_app(given: Resources) -> "OpenAPI":
    from api.catalog import routes

    return routes.create_app(given.database(Catalog), given.views, given.clock)


SERVICE = Service(
    name="catalog",
    number=1,
    summary="What can be bought, and for how much.",
    create_app=_create_app,
    paths=("products",),
    topics=TOPICS,
    states=store.STATES,
    views=views,
    tables=tables,
)
