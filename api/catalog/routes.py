"""The catalog over HTTP."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Response
from flask_openapi3.openapi import OpenAPI

from api.catalog import rules
from api.catalog.models import Changes, Description, NewProduct, NewProducts, Product, Sku
from api.catalog.service import SERVICE
from api.catalog.store import Catalog
from api.web import app as web
from api.web import items as batch
from api.web import replies, requests
from api.web.items import Results, Unreadable
from api.web.preconditions import IfMatch
from kernel.clock import Clock
from kernel.database import Database
from kernel.refusals import Conflict
from schemas.product import ProductEvent
from streams.engine.reader import Views
from streams.views.catalog import product


def create_app(database: Database[Catalog], views: Views, clock: Clock) -> OpenAPI:
    """The service, put together from what it needs."""
    handlers = _Handlers(database, views, clock)
    routes = web.blueprint(SERVICE)
    routes.post("/v1/products", responses={HTTPStatus.CREATED: Product})(handlers.create_product)
    routes.post("/v1/products:batch", responses={HTTPStatus.OK: Results})(handlers.create_products)
    routes.put("/v1/products/<sku>", responses={HTTPStatus.OK: Product})(handlers.replace_product)
    routes.patch("/v1/products/<sku>", responses={HTTPStatus.OK: Product})(handlers.change_product)
    routes.delete("/v1/products/<sku>", responses={HTTPStatus.OK: Product})(handlers.archive_product)
    routes.get("/v1/products/<sku>", responses={HTTPStatus.OK: Product})(handlers.get_product)
    return web.create_app(SERVICE, routes, database.ping)


class _Handlers:
    """What each route does; its docstring is the route's description."""

    def __init__(self, database: Database[Catalog], views: Views, clock: Clock) -> None:
        self._database = database
        self._views = views
        self._clock = clock

    def create_product(self, body: NewProduct) -> Response:
        """Creates a product. A sku is never used twice."""
        event = rules.create(body.sku, body.model_dump(), requests.context(self._clock))
        with self._database.statements() as catalog:
            if not catalog.create(event):
                raise Conflict(_taken(body.sku))
        return _reply(event, HTTPStatus.CREATED, {"Location": f"/v1/products/{body.sku}"})

    def create_products(self, body: NewProducts) -> Response:
        """Creates up to 1,000 products. Each has its own result: 201, 409 when it exists, 422 when not valid."""
        context = requests.context(self._clock)
        valid = {item.sku: item for item in reversed(body.products) if not isinstance(item, Unreadable)}
        with self._database.transaction() as catalog:
            created = catalog.create_many(
                [rules.create(sku, item.model_dump(), context) for sku, item in valid.items()]
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

    def replace_product(self, path: Sku, header: IfMatch, body: Description) -> Response:
        """Says anew all that is said of a product."""
        context = requests.context(self._clock)
        return self._change(
            path.sku, lambda now: rules.update(path.sku, now, body.model_dump(), header.version(), context)
        )

    def change_product(self, path: Sku, header: IfMatch, body: Changes) -> Response:
        """Changes some of what is said of a product."""
        context = requests.context(self._clock)
        changes = body.model_dump(exclude_unset=True)
        return self._change(
            path.sku, lambda now: rules.update(path.sku, now, changes, header.version(), context)
        )

    def archive_product(self, path: Sku, header: IfMatch) -> Response:
        """Takes a product out of the shop, for good."""
        context = requests.context(self._clock)
        return self._change(path.sku, lambda now: rules.archive(path.sku, now, header.version(), context))

    def get_product(self, path: Sku) -> Response:
        """A product as its view has it."""
        return replies.reply_row(self._views.get("product", path.sku), f"There is no product {path.sku}.")

    def _change(self, sku: str, decide: Callable[[rules.Product | None], ProductEvent]) -> Response:
        with self._database.transaction() as catalog:
            event = decide(catalog.lock(sku))
            catalog.update(event)
        return _reply(event, HTTPStatus.OK, {})


def _reply(event: ProductEvent, status: HTTPStatus, headers: dict[str, str]) -> Response:
    return replies.reply(product.fold(None, event), status, {"ETag": replies.etag(event.version), **headers})


def _taken(sku: str) -> str:
    return f"There is a product {sku} already: change it with PUT or PATCH."
