"""The catalog over HTTP."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from flask import Response
from flask_openapi3.openapi import OpenAPI

from api.catalog import rules
from api.catalog.models import (
    Changes,
    Description,
    NewProduct,
    NewProducts,
    Product,
    ProductList,
    Products,
    Sku,
)
from api.catalog.service import SERVICE
from api.catalog.store import Catalog
from api.web import app as web
from api.web import items as batch
from api.web import pages, replies, requests
from api.web.idempotency import Keep, OptionalKey, once
from api.web.items import Results, Unreadable
from api.web.preconditions import Changing
from api.web.tokens import Reading
from kernel.clock import Clock
from kernel.database import Database
from kernel.refusals import Conflict
from kernel.token import version_of
from schemas.product import ProductEvent
from streams.engine.indexes import Range
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
    routes.get("/v1/products", responses={HTTPStatus.OK: ProductList})(handlers.list_products)
    return web.create_app(SERVICE, routes, database.ping)


class _Handlers:
    """What each route does; its docstring is the route's description."""

    def __init__(self, database: Database[Catalog], views: Views, clock: Clock) -> None:
        self._database = database
        self._views = views
        self._clock = clock

    def create_product(self, header: OptionalKey, body: NewProduct) -> Response:
        """Creates a product. A sku is never used twice."""
        event = rules.create(body.sku, body.model_dump(), requests.context(self._clock))

        def create(keep: Keep) -> Response:
            answer = self._changed(event, HTTPStatus.CREATED)
            answer.headers["Location"] = f"/v1/products/{body.sku}"
            with self._database.statements() as catalog:
                if not catalog.create(event, keep(answer)):
                    raise Conflict(_taken(body.sku))
            return answer

        return once(self._database, header, create)

    def create_products(self, header: OptionalKey, body: NewProducts) -> Response:
        """Creates up to 1,000 products. Each has its own result: 201, 409 when it exists, 422 when not valid."""
        context = requests.context(self._clock)
        valid = {item.sku: item for item in reversed(body.products) if not isinstance(item, Unreadable)}

        def create(keep: Keep) -> Response:
            with self._database.transaction() as catalog:
                events = catalog.create_many([rules.create(sku, item.model_dump(), context) for sku, item in valid.items()])
                answer = self._results(body.products, events)
                if events:
                    catalog.publish(events, keep(answer))
            return answer

        return once(self._database, header, create)

    def replace_product(self, path: Sku, header: Changing, body: Description) -> Response:
        """Says anew all that is said of a product."""
        context = requests.context(self._clock)
        return self._change(
            path.sku, header, lambda now: rules.update(path.sku, now, body.model_dump(), header.versions(), context)
        )

    def change_product(self, path: Sku, header: Changing, body: Changes) -> Response:
        """Changes some of what is said of a product."""
        context = requests.context(self._clock)
        changes = body.model_dump(exclude_unset=True)
        return self._change(
            path.sku, header, lambda now: rules.update(path.sku, now, changes, header.versions(), context)
        )

    def archive_product(self, path: Sku, header: Changing) -> Response:
        """Takes a product out of the shop, for good."""
        context = requests.context(self._clock)
        return self._change(path.sku, header, lambda now: rules.archive(path.sku, now, header.versions(), context))

    def get_product(self, path: Sku, header: Reading) -> Response:
        """A product as its view has it."""
        row = self._views.get("product", path.sku, header.after(product.TOPIC))
        return replies.reply_row(row, f"There is no product {path.sku}.")

    def list_products(self, query: Products, header: Reading) -> Response:
        """The products that meet the filters, as their view has them."""
        filters = query.model_dump(include={"department", "category", "brand"}, exclude_none=True)
        wanted = Range(*product.index_and_prefix(filters, archived=query.archived))
        rows, next_cursor = pages.read(self._views, "product", wanted, query, header.after(product.TOPIC))
        return pages.reply("products", rows, next_cursor)

    def _change(
        self, sku: str, header: Changing, decide: Callable[[rules.Product | None], ProductEvent]
    ) -> Response:
        def change(keep: Keep) -> Response:
            with self._database.transaction() as catalog:
                event = decide(catalog.lock(sku))
                answer = self._changed(event)
                catalog.update(event, keep(answer))
            return answer

        return once(self._database, header, change)

    def _changed(self, event: ProductEvent, status: HTTPStatus = HTTPStatus.OK) -> Response:
        token = self._views.token([version_of(event)])
        return replies.changed(product.fold(None, event), token, status, {"ETag": replies.etag(event.version)})

    def _results(self, items: Sequence[NewProduct | Unreadable], events: Sequence[ProductEvent]) -> Response:
        created = {event.key for event in events}
        results: list[dict[str, Any]] = []
        for item in items:
            if isinstance(item, Unreadable):
                results.append(batch.unreadable(item))
            elif item.sku in created:
                created.remove(item.sku)  # a second one of this sku comes too late
                results.append(batch.done(item.sku, HTTPStatus.CREATED, 1))
            else:
                results.append(batch.refused(item.sku, _taken(item.sku)))
        return replies.changed({"results": results}, self._views.token(map(version_of, events)))


def _taken(sku: str) -> str:
    return f"There is a product {sku} already: change it with PUT or PATCH."
