"""The inventory."""

from flask_openapi3.openapi import OpenAPI

from api.inventory import reactions, store
from api.manifest import Service
from streams.tables import inventory as tables
from streams.views import inventory as views


def _create_app() -> OpenAPI:
    from api.inventory import routes

    return routes.create_app()


SERVICE = Service(
    name="inventory",
    number=2,
    summary="What is in the warehouse, and what of it is promised.",
    create_app=_create_app,
    paths=("stock",),
    topics=("marea.stock", "marea.reservation"),
    states=store.STATES,
    reactions=reactions.REACTIONS,
    views=views,
    tables=tables,
    threads=64,  # an open stock stream keeps one
)
