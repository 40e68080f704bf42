"""Orders over HTTP."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from http import HTTPStatus
from typing import Any, NamedTuple, cast

import orjson
from flask import Response
from flask_openapi3.openapi import OpenAPI

from api.orders import exchanges, placing, rules
from api.orders.models import (
    About,
    Cancellation,
    Cases,
    CustomerId,
    CustomerOrders,
    Exchange,
    ExchangeId,
    Goodwill,
    NewExchange,
    NewOrder,
    OpenCases,
    Order,
    OrderId,
    OrderPage,
    WholeOrder,
)
from api.orders.placing import Line, Payer, Price
from api.orders.prices import SeenPrices
from api.orders.service import SERVICE
from api.orders.store import EXCHANGE_BY, PAY_BY, Orders, PricesMoved
from api.web import app as web
from api.web import pages, replies, requests
from api.web.idempotency import Keep, OptionalKey, RequiredKey, once
from api.web.lines import NewLine, by_sku
from api.web.operators import OPERATOR, Staff
from api.web.preconditions import Changing, Counting
from api.web.tokens import Reading
from kernel.aggregates import Changed
from kernel.audit import Note
from kernel.clock import Clock
from kernel.context import Context
from kernel.database import Database
from kernel.deadlines import Due
from kernel.refusals import Invalid, Unknown
from kernel.token import Version
from schemas import fulfilment, payment, returns
from schemas.event import Event, Topic
from schemas.order import OrderEvent
from streams.engine.consumer import Row
from streams.engine.indexes import Range
from streams.engine.reader import ANY, Views
from streams.views.orders import exchange, order

#: The views that show what belongs to an order, with their topics.
_BESIDE: Mapping[str, Topic[Any]] = {"payment": payment.TOPIC, "fulfilment": fulfilment.TOPIC, "order_returns": returns.TOPIC}

#: The views in which cases are found.
_CASES: Mapping[About, str] = {"payment": "payment", "fulfilment": "fulfilment", "returns": "order_returns"}


class Times(NamedTuple):
    """For how long an order waits to be paid for, and an exchange for what comes back."""

    pay: timedelta
    exchange: timedelta


class _StaffCounting(Counting, Staff):
    """What a command of staff brings of which a repeat would count twice."""


class _StaffReading(Reading, Staff):
    """What a read of staff has to see."""


def create_app(database: Database[Orders], views: Views, clock: Clock, times: Times, operator_key: str) -> OpenAPI:
    """The service, put together from what it needs."""
    handlers = _Handlers(database, views, clock, times)
    routes = web.blueprint(SERVICE)
    routes.post("/v1/orders", responses={HTTPStatus.CREATED: Order})(handlers.place_order)
    routes.post("/v1/orders/<order_id>/cancel", responses={HTTPStatus.OK: Order})(handlers.cancel_order)
    routes.post("/v1/orders/<order_id>/cancellations", responses={HTTPStatus.OK: Order})(handlers.cancel_units)
    routes.post("/v1/orders/<order_id>/goodwill", responses={HTTPStatus.OK: Order})(handlers.give_goodwill)
    routes.get("/v1/orders/<order_id>", responses={HTTPStatus.OK: WholeOrder})(handlers.get_order)
    routes.get("/v1/customers/<customer_id>/orders", responses={HTTPStatus.OK: OrderPage})(
        handlers.get_customer_orders
    )
    routes.post("/v1/exchanges", responses={HTTPStatus.CREATED: Exchange})(handlers.request_exchange)
    routes.get("/v1/exchanges/<exchange_id>", responses={HTTPStatus.OK: Exchange})(handlers.get_exchange)
    routes.get("/v1/cases", responses={HTTPStatus.OK: Cases})(handlers.list_cases)
    return web.create_app(SERVICE, routes, database.ping, operator_key)


class _Handlers:
    """What each route does; its docstring is the route's description."""

    def __init__(self, database: Database[Orders], views: Views, clock: Clock, times: Times) -> None:
        self._database = database
        self._views = views
        self._clock = clock
        self._times = times
        self._prices = SeenPrices()

    def place_order(self, header: RequiredKey, body: NewOrder) -> Response:
        """Places an order, at the prices of now. It is paid for by the card, or by one that is given within the time."""
        context = requests.context(self._clock)
        lines = _lines(body.lines)
        skus = [line.sku for line in lines]
        payer = Payer(body.customer_id, body.card_token, self._times.pay)

        def place_at(prices: Mapping[str, Price], orders: Orders, keep: Keep) -> Response:
            event = placing.place(context.new_id(), payer, lines, prices, context)
            answer = self._changed(order.fold(None, event), HTTPStatus.CREATED)
            answer.headers["Location"] = f"/v1/orders/{event.key}"
            orders.place(event, keep(answer), prices)
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
        """Takes an order back: stock is free and money is back when it is cancelled. What has left the house is kept.

        One that has been cancelled before stays so.
        """
        order_id = str(path.order_id)
        return self._change(
            order_id, header, lambda now, context: rules.cancel(order_id, now, None, header.versions(), context), has_ended=True
        )

    def cancel_units(self, path: OrderId, header: Counting, body: Cancellation) -> Response:
        """Stops some units of a confirmed order, as far as they have not left the house."""
        order_id, units = str(path.order_id), by_sku(body.lines)
        return self._change(
            order_id, header, lambda now, context: rules.cancel(order_id, now, units, header.versions(), context)
        )

    def give_goodwill(self, path: OrderId, header: _StaffCounting, body: Goodwill) -> Response:
        """The shop gives up some of what is due; what is paid already goes back."""
        order_id = str(path.order_id)
        return self._change(
            order_id,
            header,
            lambda now, context: rules.goodwill(order_id, now, body.amount_minor, body.reason, header.versions(), context),
            lambda now: Note(now, OPERATOR, "goodwill", order_id, body.reason, {"amount_minor": body.amount_minor}),
        )

    def get_order(self, path: OrderId, header: Reading) -> Response:
        """An order, its payment, its parcels and its returns, each with the steps by which it has come where it is."""
        order_id = str(path.order_id)
        views = [("order", order_id, header.after(order.TOPIC))]
        views += [(name, order_id, header.after(topic)) for name, topic in _BESIDE.items()]
        row, *beside = self._views.of_several(views)
        shown = dict(zip(("payment", "fulfilment", "returns"), beside, strict=True))
        return replies.reply_with(row, shown, f"There is no order {order_id}.")

    def request_exchange(self, header: RequiredKey, body: NewExchange) -> Response:
        """Units of an order come back for others: a new order is placed, which waits for what they are worth."""
        context = requests.context(self._clock)
        order_id, units, lines = str(body.order_id), by_sku(body.give_back, "give_back"), _lines(body.lines)

        def request(keep: Keep) -> Response:
            with self._database.transaction() as orders:
                before = orders.orders.lock([order_id]).get(order_id)
                if before is None or before.state is None:
                    raise Unknown(f"There is no order {order_id}.")
                begun = before.notes.get("exchanges", 0)
                exchanges.check(order_id, before.state["status"], begun)
                customer_id, exchange_id = before.state["customer_id"], context.new_id()
                payer = Payer(customer_id, body.card_token, self._times.exchange, exchange_id)
                prices = orders.prices([line.sku for line in lines])
                placed = placing.place(context.new_id(), payer, lines, prices, context)
                event = exchanges.request(exchange_id, order_id, placed.key, customer_id, units, context)
                token = self._views.token([Version(order.TOPIC, placed.key, 1), Version(exchange.TOPIC, exchange_id, 1)])
                answer = replies.changed(
                    exchange.fold(None, event), token, HTTPStatus.CREATED, {"Location": f"/v1/exchanges/{exchange_id}"}
                )
                orders.orders.save([Changed(before, [], {**before.notes, "exchanges": begun + 1})])
                orders.place(placed, None, prices)
                orders.add_exchange(event, Due(exchange_id, EXCHANGE_BY, context.now + self._times.exchange), keep(answer))
            return answer

        return once(self._database, header, request)

    def get_exchange(self, path: ExchangeId, header: Reading) -> Response:
        """An exchange as its view has it."""
        exchange_id = str(path.exchange_id)
        row = self._views.get("exchange", exchange_id, header.after(exchange.TOPIC))
        return replies.reply_row(row, f"There is no exchange {exchange_id}.")

    def list_cases(self, query: OpenCases, header: _StaffReading) -> Response:
        """What needs a person, what has waited longest first: settled ones make room for more."""
        abouts = [query.about] if query.about else list(_CASES)
        found = [case for about in abouts for case in self._cases(about, query.limit)]
        return replies.reply({"cases": sorted(found, key=lambda case: case["since"])[: query.limit]})

    def _cases(self, about: About, limit: int) -> list[Row]:
        rows = [orjson.loads(row) for row in self._views.page(_CASES[about], Range("cases"), limit, None, ANY).rows]
        unique = {row["order_id"]: row for row in rows}
        return [
            {"about": about, "order_id": row["order_id"], **case}
            for row in unique.values()
            for case in (row["cases"] if "cases" in row else _waiting(row))
        ]

    def _change(
        self,
        order_id: str,
        header: OptionalKey | RequiredKey,
        decide: Callable[[rules.Order | None, Context], OrderEvent | None],
        note: Callable[[Any], Note] | None = None,
        *,
        has_ended: bool = False,
    ) -> Response:
        """Does to an order what is decided, and what follows from that. With `has_ended` it waits for no payment any more."""
        context = requests.context(self._clock)

        def change(keep: Keep) -> Response:
            with self._database.transaction() as orders:
                if has_ended:
                    orders.clear(PAY_BY, [order_id])
                kept = orders.orders.lock([order_id]).get(order_id)
                now = rules.Order(kept.version, kept.state) if kept and kept.state else None
                event = decide(now, context)
                assert kept is not None
                row = self._row(orders, kept)
                if event is None:
                    return self._changed(row)
                more = rules.run(rules.evolve(event), cast("rules.Facts", kept.notes), context)
                events: list[Event[Any, Any]] = [event, *more]
                for each in events:
                    row = order.fold(row, each)
                answer = self._changed(row)
                if note:
                    orders.note(note(context.now))
                orders.orders.save([Changed(kept, events, kept.notes)], keep(answer))
            return answer

        return once(self._database, header, change)

    def _row(self, orders: Orders, kept: Any) -> Row:
        """The order as its view has it, or will have it."""
        [(_, row)] = order.expected([orders.shown(kept)])
        return row

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


def _lines(lines: list[NewLine]) -> list[Line]:
    return [Line(line.sku, line.quantity) for line in lines]


def _waiting(row: Row) -> list[Row]:
    """Returns that wait for staff."""
    return [
        {"kind": f"return {each['status']}", "number": each["number"], "reason": f"it is {each['status']}", "since": row["updated_at"]}
        for each in row["returns"]
        if each["status"] in ("requested", "received")
    ]
