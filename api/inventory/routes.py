"""The inventory over HTTP."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from flask import Response
from flask_openapi3.openapi import OpenAPI

from api.inventory import rules
from api.inventory.models import (
    Below,
    LastEventId,
    NewAdjustment,
    NewReceipt,
    NewReceiptOf,
    NewReceipts,
    Sku,
    Stock,
    StockList,
)
from api.inventory.service import SERVICE
from api.inventory.store import Inventory
from api.inventory.stream import StockStream
from api.web import app as web
from api.web import items as batch
from api.web import replies, requests
from api.web.items import Results, Unreadable
from kernel.clock import Clock
from kernel.context import Context
from kernel.database import Database
from kernel.refusals import Conflict
from schemas.event import iso_utc
from schemas.stock import StockEvent, StockReceived
from streams.engine.reader import Views


def create_app(
    database: Database[Inventory], views: Views, clock: Clock, stream: StockStream
) -> OpenAPI:
    """The service, put together from what it needs."""
    handlers = _Handlers(database, views, clock, stream)
    routes = web.blueprint(SERVICE)
    routes.post("/v1/stock/<sku>/receipts", responses={HTTPStatus.OK: Stock})(handlers.receive)
    routes.post("/v1/stock:receive", responses={HTTPStatus.OK: Results})(handlers.receive_many)
    routes.post("/v1/stock/<sku>/adjustments", responses={HTTPStatus.OK: Stock})(handlers.adjust)
    routes.get("/v1/stock/<sku>", responses={HTTPStatus.OK: Stock})(handlers.get_stock)
    routes.get("/v1/stock", responses={HTTPStatus.OK: StockList})(handlers.list_stock)
    routes.get(
        "/v1/stock/stream",
        responses={
            HTTPStatus.OK: {
                "description": "Server-sent events; the data is a change with the stock item after it, in JSON.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            }
        },
    )(handlers.stream_stock)
    return web.create_app(SERVICE, routes, database.ping)


class _Handlers:
    """What each route does; its docstring is the route's description."""

    def __init__(
        self, database: Database[Inventory], views: Views, clock: Clock, stream: StockStream
    ) -> None:
        self._database = database
        self._views = views
        self._clock = clock
        self._stream = stream

    def receive(self, path: Sku, body: NewReceipt) -> Response:
        """Units have come in. The first receipt of a product makes its stock item."""
        (outcome,) = self._receive([NewReceiptOf(sku=path.sku, quantity=body.quantity)], requests.context(self._clock))
        if isinstance(outcome, Conflict):
            raise outcome
        return _reply(outcome)

    def receive_many(self, body: NewReceipts) -> Response:
        """Units of up to 1,000 products have come in. Each receipt has its own result: 200, 409 or 422."""
        outcomes = iter(
            self._receive(
                [item for item in body.receipts if not isinstance(item, Unreadable)], requests.context(self._clock)
            )
        )
        results: list[dict[str, Any]] = []
        for item in body.receipts:
            if isinstance(item, Unreadable):
                results.append(batch.unreadable(item))
            elif isinstance(outcome := next(outcomes), Conflict):
                results.append(batch.refused(item.sku, outcome.detail))
            else:
                results.append(batch.done(item.sku, HTTPStatus.OK, outcome.version))
        return replies.reply({"results": results})

    def adjust(self, path: Sku, body: NewAdjustment) -> Response:
        """A count found more units, or fewer."""
        context = requests.context(self._clock)
        with self._database.transaction() as inventory:
            stock = inventory.lock([path.sku]).get(path.sku)
            event = rules.adjust(path.sku, stock, body.quantity, body.reason, context)
            inventory.change(event)
        return _reply(event)

    def get_stock(self, path: Sku) -> Response:
        """A stock item as its view has it."""
        return replies.reply_row(self._views.get("stock", path.sku), f"There is no stock of {path.sku}.")

    def list_stock(self, query: Below) -> Response:
        """The stock items with fewer than so many units available, as their view has them."""
        rows = self._views.below("stock", query.below, query.limit)
        return replies.reply(b'{"stock":[' + b",".join(rows) + b"]}")

    def stream_stock(self, header: LastEventId) -> Response:
        """Every change of stock, live, from after Last-Event-ID or from now on."""
        return self._stream.reply(header.positions)

    def _receive(self, receipts: Sequence[NewReceiptOf], context: Context) -> list[StockReceived | Conflict]:
        """What became of each receipt, in one transaction."""
        outcomes: list[StockReceived | Conflict] = []
        with self._database.transaction() as inventory:
            stocks = inventory.lock_or_add({receipt.sku for receipt in receipts})
            for receipt in receipts:
                try:
                    event = rules.receive(stocks[receipt.sku], receipt.quantity, context)
                except Conflict as refusal:
                    outcomes.append(refusal)
                else:
                    outcomes.append(event)
                    stocks[receipt.sku] = rules.evolve(event)
            events = [outcome for outcome in outcomes if not isinstance(outcome, Conflict)]
            inventory.save(events, context.now)
        return outcomes


def _reply(event: StockEvent) -> Response:
    stock = rules.evolve(event)
    row = {**stock._asdict(), "available": stock.available, "updated_at": iso_utc(event.occurred_at)}
    return replies.reply(row, headers={"ETag": replies.etag(stock.version)})
