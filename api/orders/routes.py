"""Orders over HTTP."""

import base64
import binascii
from http import HTTPStatus
from typing import Any

import orjson
from flask import Response
from flask_openapi3.openapi import OpenAPI

from api.orders import rules
from api.orders.models import CustomerId, IdempotencyKey, NewOrder, Order, OrderId, OrderPage, Page
from api.orders.rules import Line
from api.orders.service import SERVICE
from api.orders.store import Orders
from api.web import app as web
from api.web import replies, requests
from kernel.clock import Clock
from kernel.database import Database
from kernel.refusals import Conflict, FieldError, Invalid
from schemas.event import iso_utc
from schemas.order import OrderPlacedData
from streams.engine.reader import Views


def create_app(database: Database[Orders], views: Views, clock: Clock) -> OpenAPI:
    """The service, put together from what it needs."""
    handlers = _Handlers(database, views, clock)
    routes = web.blueprint(SERVICE)
    routes.post("/v1/orders", responses={HTTPStatus.CREATED: Order})(handlers.place_order)
    routes.post("/v1/orders/<order_id>/cancel", responses={HTTPStatus.OK: Order})(handlers.cancel_order)
    routes.get("/v1/orders/<order_id>", responses={HTTPStatus.OK: Order})(handlers.get_order)
    routes.get("/v1/customers/<customer_id>/orders", responses={HTTPStatus.OK: OrderPage})(
        handlers.get_customer_orders
    )
    return web.create_app(SERVICE, routes, database.ping)


class _Handlers:
    """What each route does; its docstring is the route's description."""

    def __init__(self, database: Database[Orders], views: Views, clock: Clock) -> None:
        self._database = database
        self._views = views
        self._clock = clock

    def place_order(self, header: IdempotencyKey, body: NewOrder) -> Response:
        """Places an order, at the prices of now.

        Repeated with the same Idempotency-Key and body, it gives the first answer again; another body gets 409.
        """
        context = requests.context(self._clock)
        lines = [Line(line.sku, line.quantity) for line in body.lines]
        request_hash = body.hash()
        with self._database.statements() as orders:
            prices = orders.prices([line.sku for line in lines])
            try:
                event = rules.place(context.new_id(), body.customer_id, lines, prices, context)
            except Invalid:
                # A product may have been archived since the key first came: the first answer still holds.
                placed = orders.placed_by(header.key)
                if placed is None:
                    raise
            else:
                if orders.place(event, header.key, request_hash):
                    return _placed(event.data)
                placed = orders.placed_by(header.key)
        assert placed is not None, "orders are never deleted"
        if placed.request_hash != request_hash:
            raise Conflict(
                "This Idempotency-Key came before with another body: choose a new key for a new order."
            )
        return _placed(placed.data)

    def cancel_order(self, path: OrderId) -> Response:
        """Takes an order back and frees its stock; one that has been cancelled before stays so."""
        order_id = str(path.order_id)
        context = requests.context(self._clock)
        with self._database.transaction() as orders:
            order = orders.lock([order_id]).get(order_id)
            event = rules.cancel(order_id, order, context)
            if order and event:
                orders.change(order, event)
            row = orders.read(order_id)
        return replies.reply(row, headers={"ETag": replies.etag(row["version"])})

    def get_order(self, path: OrderId) -> Response:
        """An order as its view has it."""
        order_id = str(path.order_id)
        return replies.reply_row(self._views.get("order", order_id), f"There is no order {order_id}.")

    def get_customer_orders(self, path: CustomerId, query: Page) -> Response:
        """A customer's orders, the newest first."""
        orders: dict[str, dict[str, Any]] = {}
        for part in self._views.parts("customer_orders", path.customer_id):
            orders.update(orjson.loads(part))
        newest_first = sorted(
            ((row["placed_at"], order_id) for order_id, row in orders.items()), reverse=True
        )
        if query.cursor:
            last = _decode_cursor(query.cursor)
            newest_first = [place for place in newest_first if place < last]
        page = newest_first[: query.limit]
        more = len(newest_first) > len(page)
        return replies.reply(
            {
                "orders": [{"id": order_id, **orders[order_id]} for _, order_id in page],
                "next_cursor": _encode_cursor(*page[-1]) if more else None,
            }
        )


def _placed(data: OrderPlacedData) -> Response:
    """The first answer, from what was stored then: the same bytes each time."""
    placed_at = iso_utc(data["placed_at"])
    row = {
        "id": data["order_id"],
        "version": 1,
        "customer_id": data["customer_id"],
        "status": "placed",
        "reason": None,
        "currency": data["currency"],
        "total_minor": data["total_minor"],
        "lines": data["lines"],
        "placed_at": placed_at,
        "updated_at": placed_at,
    }
    headers = {"Location": f"/v1/orders/{data['order_id']}", "ETag": replies.etag(1)}
    return replies.reply(row, HTTPStatus.CREATED, headers)


def _encode_cursor(placed_at: str, order_id: str) -> str:
    return base64.urlsafe_b64encode(f"{placed_at} {order_id}".encode()).decode()


def _decode_cursor(cursor: str) -> tuple[str, str]:
    try:
        placed_at, order_id = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().split(" ")
    except (binascii.Error, ValueError) as error:
        raise Invalid(
            "The cursor is not one of ours.", [FieldError("cursor", "is not a next_cursor")]
        ) from error
    return placed_at, order_id
