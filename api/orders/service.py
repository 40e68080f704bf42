"""Orders."""

from flask_openapi3.openapi import OpenAPI

from api.manifest import Service
from api.orders import reactions, store
from streams.tables import orders as tables
from streams.views import orders as views


def _create_app() -> OpenAPI:
    from api.orders import routes

    return routes.create_app()


SERVICE = Service(
    name="orders",
    number=3,
    summary="Placing orders, and what becomes of them.",
    create_app=_create_app,
    paths=("orders", "customers"),
    topics=("marea.order",),
    states=store.STATES,
    reactions=reactions.REACTIONS,
    views=views,
    tables=tables,
    processes=4,
    threads=1,  # a process of one thread takes each connection itself: half of what a request costs
)
