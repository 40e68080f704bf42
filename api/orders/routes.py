"""Orders over HTTP."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from http import HTTPStatus

from flask import Response
from flask_openapi3.openapi import OpenAPI

from api.orders import rules
from api.orders.models import CustomerId, CustomerOrders, NewOrder, Order, OrderId, OrderPage
from api.orders.prices import SeenPrices
from api.orders.rules import Line, Price
from api.orders.service import SERVICE
from api.orders.store import Orders, PricesMoved
from api.web import app as web
from api.web import pages, replies, requests
from api.web.idempotency import Keep, RequiredKey, once
from api.web.preconditions import Changing
from api.web.tokens import Reading
from kernel.clock import Clock
from kernel.database import Database
from kernel.refusals import Invalid
from kernel.token import Version
from streams.engine.consumer import Row
from streams.engine.indexes import Range
from streams.engine.reader import Views
from streams.views.orders import order


def create_app(database: Database[Orders], views: Views, clock: Clock, pay_by: timedelta) -> OpenAPI:
    """The service, put together from what it needs. An order is answered within `pay_by`, or cancelled."""
    handlers = _Handlers(database, views, clock, pay_by)
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

    def __init__(self, database: Database[Orders], views: Views, clock: Clock, pay_by: timedelta) -> None:
        self._database = database
        self._views = views
        self._clock = clock
        self._pay_by = pay_by
        self._prices = SeenPrices()

    def place_order(self, header: RequiredKey, body: NewOrder) -> Response:
        """Places an order, at the prices of now."""
        context = requests.context(self._clock)
        lines = [Line(line.sku, line.quantity) for line in body.lines]
        skus = [line.sku for line in lines]

        def place_at(prices: Mapping[str, Price], orders: Orders, keep: Keep) -> Response:
            event = rules.place(context.new_id(), body.customer_id, lines, prices, context)
            answer = self._changed(order.fold(None, event), HTTPStatus.CREATED)
            answer.headers["Location"] = f"/v1/orders/{event.key}"
            orders.place(event, context.now + self._pay_by, keep(answer), prices)
            return answer

        def place(keep: Keep) -> Response:
            with self._database.statements() as orders:
                if seen := self._prices.of(skus):
                    with suppress(PricesMoved, Invalid):  # what was refused is decided anew
                        return place_at(seen, orders, keep)
                prices = orders.prices(skus)
                self._prices.remember(prices)
                return place_at(prices, orders, keep)

        return once(self._database, header, place, caller=body.customer_id)

    def cancel_order(self, path: OrderId, header: Changing) -> Response:
        """Takes an order back and frees its stock; one that has been cancelled before stays so."""
        order_id = str(path.order_id)
        context = requests.context(self._clock)

        def cancel(keep: Keep) -> Response:
            with self._database.transaction() as orders:
                orders.clear_pay_by([order_id])
                now = orders.lock([order_id]).get(order_id)
                event = rules.cancel(order_id, now, header.versions(), context)
                row = orders.read(order_id)
                if now is None or event is None:
                    return self._changed(row)
                answer = self._changed(order.fold(row, event))
                orders.change(now, event, keep(answer))
            return answer

        return once(self._database, header, cancel)

    def get_order(self, path: OrderId, header: Reading) -> Response:
        """An order as its view has it."""
        order_id = str(path.order_id)
        row = self._views.get("order", order_id, header.after(order.TOPIC))
        return replies.reply_row(row, f"There is no order {order_id}.")

    def get_customer_orders(self, path: CustomerId, query: CustomerOrders, header: Reading) -> Response:
        """A customer's orders, the newest first, as their view has them."""
        customer = path.customer_id
        index, prefix = ("customer,status", (customer, query.status)) if query.status else ("customer", (customer,))
        newest_first = Range(index, prefix, low=query.placed_from, high=query.placed_to, descending=True)
        after = header.after(order.TOPIC)
        rows, next_cursor = pages.read(self._views, "customer_orders", newest_first, query, after)
        return pages.reply("orders", rows, next_cursor)

    def _changed(self, row: Row, status: HTTPStatus = HTTPStatus.OK) -> Response:
        token = self._views.token([Version(order.TOPIC, row["id"], row["version"])])
        return replies.changed(row, token, status, {"ETag": replies.etag(row["version"])})
