"""The inventory over HTTP."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from flask import Response
from flask_openapi3.openapi import OpenAPI

from api.inventory import rules
from api.inventory.models import (
    Below,
    NewAdjustment,
    NewReceipt,
    NewReceiptOf,
    NewReceipts,
    Sku,
    StockList,
)
from api.inventory.models import Stock as StockModel
from api.inventory.rules import Stock
from api.inventory.service import SERVICE
from api.inventory.store import Inventory
from api.web import app as web
from api.web import items as batch
from api.web import pages, replies, requests
from api.web.idempotency import Keep, RequiredKey, once
from api.web.items import Results, Unreadable
from api.web.preconditions import Counting
from api.web.tokens import Reading
from kernel.clock import Clock
from kernel.context import Context
from kernel.database import Database
from kernel.refusals import Conflict
from kernel.token import version_of
from schemas.stock import StockEvent, StockReceived
from streams.engine.indexes import Range
from streams.engine.reader import Views
from streams.views.inventory import stock


def create_app(database: Database[Inventory], views: Views, clock: Clock) -> OpenAPI:
    """The service, put together from what it needs."""
    handlers = _Handlers(database, views, clock)
    routes = web.blueprint(SERVICE)
    routes.post("/v1/stock/<sku>/receipts", responses={HTTPStatus.OK: StockModel})(handlers.receive)
    routes.post("/v1/stock:receive", responses={HTTPStatus.OK: Results})(handlers.receive_many)
    routes.post("/v1/stock/<sku>/adjustments", responses={HTTPStatus.OK: StockModel})(handlers.adjust)
    routes.get("/v1/stock/<sku>", responses={HTTPStatus.OK: StockModel})(handlers.get_stock)
    routes.get("/v1/stock", responses={HTTPStatus.OK: StockList})(handlers.list_stock)
    return web.create_app(SERVICE, routes, database.ping)


class _Handlers:
    """What each route does; its docstring is the route's description."""

    def __init__(self, database: Database[Inventory], views: Views, clock: Clock) -> None:
        self._database = database
        self._views = views
        self._clock = clock

    def receive(self, path: Sku, header: Counting, body: NewReceipt) -> Response:
        """Units have come in. The first receipt of a product makes its stock item."""
        context = requests.context(self._clock)

        def receive(keep: Keep) -> Response:
            with self._database.transaction() as inventory:
                now = inventory.lock_or_add([path.sku])[path.sku]
                event = rules.receive(now, body.quantity, context, header.versions())
                answer = self._changed(event)
                inventory.save([event], context.now, keep(answer))
            return answer

        return once(self._database, header, receive)

    def receive_many(self, header: RequiredKey, body: NewReceipts) -> Response:
        """Units of up to 1,000 products have come in. Each receipt has its own result: 200, 409 or 422."""
        context = requests.context(self._clock)
        valid = [item for item in body.receipts if not isinstance(item, Unreadable)]

        def receive(keep: Keep) -> Response:
            with self._database.transaction() as inventory:
                outcomes = _receive(inventory.lock_or_add({item.sku for item in valid}), valid, context)
                events = [outcome for outcome in outcomes if not isinstance(outcome, Conflict)]
                answer = self._results(body.receipts, outcomes, events)
                if events:
                    inventory.save(events, context.now, keep(answer))
            return answer

        return once(self._database, header, receive)

    def adjust(self, path: Sku, header: Counting, body: NewAdjustment) -> Response:
        """A count found more units, or fewer."""
        context = requests.context(self._clock)

        def adjust(keep: Keep) -> Response:
            with self._database.transaction() as inventory:
                now = inventory.lock([path.sku]).get(path.sku)
                event = rules.adjust(path.sku, now, body.quantity, body.reason, context, header.versions())
                answer = self._changed(event)
                inventory.change(event, keep(answer))
            return answer

        return once(self._database, header, adjust)

    def get_stock(self, path: Sku, header: Reading) -> Response:
        """A stock item as its view has it."""
        row = self._views.get("stock", path.sku, header.after(stock.TOPIC))
        return replies.reply_row(row, f"There is no stock of {path.sku}.")

    def list_stock(self, query: Below, header: Reading) -> Response:
        """The stock items with fewer than so many units available, as their view has them."""
        below = Range("available", high=query.below)
        rows, next_cursor = pages.read(self._views, "stock", below, query, header.after(stock.TOPIC))
        return pages.reply("stock", rows, next_cursor)

    def _changed(self, event: StockEvent) -> Response:
        token = self._views.token([version_of(event)])
        return replies.changed(stock.fold(None, event), token, headers={"ETag": replies.etag(event.version)})

    def _results(
        self,
        items: Sequence[NewReceiptOf | Unreadable],
        outcomes: Iterable[StockReceived | Conflict],
        events: Sequence[StockReceived],
    ) -> Response:
        results: list[dict[str, Any]] = []
        left = iter(outcomes)
        for item in items:
            if isinstance(item, Unreadable):
                results.append(batch.unreadable(item))
            elif isinstance(outcome := next(left), Conflict):
                results.append(batch.refused(item.sku, outcome.detail))
            else:
                results.append(batch.done(item.sku, HTTPStatus.OK, outcome.version))
        return replies.changed({"results": results}, self._views.token(map(version_of, events)))


def _receive(
    stocks: dict[str, Stock], receipts: Sequence[NewReceiptOf], context: Context
) -> list[StockReceived | Conflict]:
    """What becomes of each receipt; the stocks are then as they are after all of them."""
    outcomes: list[StockReceived | Conflict] = []
    for receipt in receipts:
        try:
            event = rules.receive(stocks[receipt.sku], receipt.quantity, context)
        except Conflict as refusal:
            outcomes.append(refusal)
        else:
            outcomes.append(event)
            stocks[receipt.sku] = rules.evolve(event)
    return outcomes
