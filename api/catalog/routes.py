"""The catalog over HTTP."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Response
from flask_openapi3.openapi import OpenAPI

from api.catalog import rules, store
from api.catalog.models import Changes, Description, IfMatch, NewProduct, NewProducts, Product, Sku
from api.web import app as web
from api.web import items as batch
from api.web import replies, requests
from api.web.items import Results, Unreadable
from kernel.database import Database
from kernel.refusals import Conflict
from schemas.event import Event, iso_utc

database = Database("catalog")
routes = web.blueprint("catalog")


def create_app() -> OpenAPI:
    """The service, for gunicorn."""
    return web.create_app(routes, database, "What can be bought, and for how much.")


@routes.post("/v1/products", responses={HTTPStatus.CREATED: Product})
def create_product(body: NewProduct) -> Response:
    """Creates a product. A sku is never used twice."""
    event = rules.create(body.sku, body.model_dump(), requests.context())
    with database.statements() as cursor:
        if not store.create(cursor, event):
            raise Conflict(_taken(body.sku))
    return _reply(event, HTTPStatus.CREATED, {"Location": f"/v1/products/{body.sku}"})


@routes.post("/v1/products:batch", responses={HTTPStatus.OK: Results})
def create_products(body: NewProducts) -> Response:
    """Creates up to 1,000 products. Each has its own result: 201, 409 when it exists, 422 when not valid."""
    context = requests.context()
    valid = {item.sku: item for item in reversed(body.products) if not isinstance(item, Unreadable)}
    with database.transaction() as cursor:
        created = store.create_many(
            cursor, [rules.create(sku, product.model_dump(), context) for sku, product in valid.items()]
        )
    results: list[dict[str, Any]] = []
    for item in body.products:
        if isinstance(item, Unreadable):
            results.append(batch.unreadable(item))
        elif item.sku in created:
            created.remove(item.sku)  # a second one of this sku comes too late
            results.append(batch.done(item.sku, HTTPStatus.CREATED, 1))
        else:
            results.append(batch.refused(item.sku, _taken(item.sku)))
    return replies.reply({"results": results})


@routes.put("/v1/products/<sku>", responses={HTTPStatus.OK: Product})
def replace_product(path: Sku, header: IfMatch, body: Description) -> Response:
    """Says anew all that is said of a product."""
    context = requests.context()
    return _change(
        path.sku, lambda now: rules.update(path.sku, now, body.model_dump(), header.version(), context)
    )


@routes.patch("/v1/products/<sku>", responses={HTTPStatus.OK: Product})
def change_product(path: Sku, header: IfMatch, body: Changes) -> Response:
    """Changes some of what is said of a product."""
    context = requests.context()
    changes = body.model_dump(exclude_unset=True)
    return _change(path.sku, lambda now: rules.update(path.sku, now, changes, header.version(), context))


@routes.delete("/v1/products/<sku>", responses={HTTPStatus.OK: Product})
def archive_product(path: Sku, header: IfMatch) -> Response:
    """Takes a product out of the shop, for good."""
    context = requests.context()
    return _change(path.sku, lambda now: rules.archive(path.sku, now, header.version(), context))


@routes.get("/v1/products/<sku>", responses={HTTPStatus.OK: Product})
def get_product(path: Sku) -> Response:
    """A product as its view has it."""
    return replies.reply_row(web.views().get("product", path.sku), f"There is no product {path.sku}.")


def _change(sku: str, decide: Callable[[rules.Product | None], Event]) -> Response:
    with database.transaction() as cursor:
        event = decide(store.lock(cursor, sku))
        store.update(cursor, event)
    return _reply(event, HTTPStatus.OK, {})


def _reply(event: Event, status: HTTPStatus, headers: dict[str, str]) -> Response:
    product = rules.evolve(event)
    row = {**product._asdict(), "updated_at": iso_utc(event.occurred_at)}
    return replies.reply(row, status, {"ETag": replies.etag(product.version), **headers})


def _taken(sku: str) -> str:
    return f"There is a product {sku} already: change it with PUT or PATCH."
