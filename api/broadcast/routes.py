"""Streams of changes over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

from aiohttp import web

from api.broadcast.changes import ONE_ORDER, ORDERS, STOCK
from api.broadcast.channel import Channel
from api.broadcast.history import History
from api.broadcast.house import PLACES, House
from api.broadcast.models import LastEventId, OfAll, OfCustomer, OfSkus, OrderId
from api.broadcast.service import SERVICE
from api.broadcast.tail import Source, Tail
from api.web import aio
from api.web.aio import AsyncApp, Responses, Route
from kernel.refusals import Unavailable
from schemas.codec import Codec

_RESPONSES: Responses = {
    HTTPStatus.OK: {
        "description": "Server-sent events: the data is JSON, the id where the stream goes on after it. None is left out. "
        "After a crash one may come twice: both have the same version.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'id: 12-5-88-3\ndata: {"type":"StockReceived","sku":"milk","version":1}\n\n',
            }
        },
    }
}


def create_app(
    open_source: Callable[[], Source], partitions: int, codec: Callable[[], Codec], places: int = PLACES
) -> AsyncApp:
    """The service, put together from what it needs."""
    channels = Channel(STOCK), Channel(ORDERS), Channel(ONE_ORDER)
    history = History(open_source, partitions, codec)
    house = House(history, places)
    tail = Tail(open_source, channels, partitions, codec, on_lost=house.end)
    handlers = _Handlers(house, *channels)

    def check() -> None:
        if tail.trouble or not all(channel.is_ready for channel in channels):
            raise Unavailable(f"The topics are not being read: {tail.trouble or 'not up to their ends yet'}.")

    async def run(application: web.Application) -> AsyncIterator[None]:
        tail.start()
        beating = asyncio.create_task(house.beat())
        yield
        beating.cancel()
        history.close()
        await tail.stop()

    async def end(application: web.Application) -> None:
        house.end()

    routes: dict[str, Route] = {
        "/v1/streams/stock": handlers.stream_stock,
        "/v1/streams/orders": handlers.stream_orders,
        "/v1/orders/{order_id}/stream": handlers.stream_order,
    }
    app = aio.create_app(SERVICE, routes, _RESPONSES, check)
    app.application.cleanup_ctx.append(run)
    app.application.on_shutdown.append(end)
    return app


class _Handlers:
    """What each route does; its docstring is the route's description."""

    def __init__(self, house: House, stock: Channel, orders: Channel, one_order: Channel) -> None:
        self._house = house
        self._stock = stock
        self._orders = orders
        self._one_order = one_order

    async def stream_stock(self, request: web.Request, header: LastEventId, query: OfSkus) -> web.StreamResponse:
        """Every change of stock, with the stock item after it, from after Last-Event-ID or from now on."""
        keys = frozenset(query.sku) or None
        return await self._house.serve(request, self._stock, keys, header.positions)

    async def stream_orders(
        self, request: web.Request, header: LastEventId, query: OfCustomer
    ) -> web.StreamResponse:
        """Every change of a customer's orders, without their lines, from after Last-Event-ID or from now on."""
        keys = frozenset([query.customer_id])
        return await self._house.serve(request, self._orders, keys, header.positions)

    async def stream_order(
        self, request: web.Request, header: LastEventId, query: OfAll, path: OrderId
    ) -> web.StreamResponse:
        """All that happens to an order, its payment, its parcels and its returns, from after Last-Event-ID or from now on."""
        return await self._house.serve(request, self._one_order, frozenset([str(path.order_id)]), header.positions)
