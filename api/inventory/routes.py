"""The inventory over HTTP."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from flask import Response
from flask_openapi3.openapi import OpenAPI

from api.inventory import rules, store, stream
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
from api.web import app as web
from api.web import items as batch
from api.web import replies, requests
from api.web.items import Results, Unreadable
from kernel import outbox
from kernel.context import Context
from kernel.database import Database
from kernel.refusals import Conflict
from schemas.event import Event, iso_utc

database = Database("inventory")
routes = web.blueprint("inventory")


def create_app() -> OpenAPI:
    """The service, for gunicorn."""
    return web.create_app(routes, database, "What is in the warehouse, and what of it is promised.")


@routes.post("/v1/stock/<sku>/receipts", responses={HTTPStatus.OK: Stock})
def receive(path: Sku, body: NewReceipt) -> Response:
    """Units have come in. The first receipt of a product makes its stock item."""
    (outcome,) = _receive([NewReceiptOf(sku=path.sku, quantity=body.quantity)], requests.context())
    if isinstance(outcome, Conflict):
        raise outcome
    return _reply(outcome)


@routes.post("/v1/stock:receive", responses={HTTPStatus.OK: Results})
def receive_many(body: NewReceipts) -> Response:
    """Units of up to 1,000 products have come in. Each receipt has its own result: 200, 409 or 422."""
    outcomes = iter(
        _receive([item for item in body.receipts if not isinstance(item, Unreadable)], requests.context())
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


@routes.post("/v1/stock/<sku>/adjustments", responses={HTTPStatus.OK: Stock})
def adjust(path: Sku, body: NewAdjustment) -> Response:
    """A count found more units, or fewer."""
    context = requests.context()
    with database.transaction() as cursor:
        stock = store.lock(cursor, [path.sku]).get(path.sku)
        event = rules.adjust(path.sku, stock, body.quantity, body.reason, context)
        store.change(cursor, event)
    return _reply(event)


@routes.get("/v1/stock/<sku>", responses={HTTPStatus.OK: Stock})
def get_stock(path: Sku) -> Response:
    """A stock item as its view has it."""
    return replies.reply_row(web.views().get("stock", path.sku), f"There is no stock of {path.sku}.")


@routes.get("/v1/stock", responses={HTTPStatus.OK: StockList})
def list_stock(query: Below) -> Response:
    """The stock items with fewer than so many units available, as their view has them."""
    rows = web.views().below("stock", query.below, query.limit)
    return replies.reply(b'{"stock":[' + b",".join(rows) + b"]}")


@routes.get(
    "/v1/stock/stream",
    responses={
        HTTPStatus.OK: {
            "description": "Server-sent events; the data is a change with the stock item after it, in JSON.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
def stream_stock(header: LastEventId) -> Response:
    """Every change of stock, live, from after Last-Event-ID or from now on."""
    return stream.reply(header.positions)


def _receive(receipts: Sequence[NewReceiptOf], context: Context) -> list[Event | Conflict]:
    """What became of each receipt, in one transaction."""
    outcomes: list[Event | Conflict] = []
    with database.transaction() as cursor:
        stocks = store.lock_or_add(cursor, {receipt.sku for receipt in receipts})
        for receipt in receipts:
            try:
                event = rules.receive(stocks[receipt.sku], receipt.quantity, context)
            except Conflict as refusal:
                outcomes.append(refusal)
            else:
                outcomes.append(event)
                stocks[receipt.sku] = rules.evolve(event)
        events = [outcome for outcome in outcomes if isinstance(outcome, Event)]
        store.save(cursor, rules.stock_after(events).values(), context.now)
        outbox.publish(cursor, events)
    return outcomes


def _reply(event: Event) -> Response:
    stock = rules.evolve(event)
    row = {**stock._asdict(), "available": stock.available, "updated_at": iso_utc(event.occurred_at)}
    return replies.reply(row, headers={"ETag": replies.etag(stock.version)})
