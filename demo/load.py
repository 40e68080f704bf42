"""`marea load`: real baskets placed through the HTTP API, as a shop's customers would.

First the products of the baskets are created, and those that have no stock item yet receive STOCK units. A
second load of the same baskets therefore adds no stock, and since an order's Idempotency-Key is made from its
basket, it places nothing twice either: it gets the first answers again.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from time import monotonic
from uuid import uuid4

import orjson

from demo.baskets import Baskets, Product
from demo.cards import good
from demo.client import Client
from demo.freshness import Freshness
from demo.placing import (
    LoadFailed,
    Order,
    Tally,
    at_once,
    await_final,
    order,
    percentile,
    place,
    post,
    steadily,
)
from kernel import settings
from ops.progress import Bar
from streams.engine.reader import Views

#: Units that every product receives.
STOCK = 50
CURRENCY = "USD"
#: One of so many accepted orders is read at once.
READ_EVERY = 10
#: Items of one batch request: the API's limit.
AT_ONCE = 1_000
#: Seconds between two updates of the figures on the screen.
REFRESH_S = 0.25
#: Seconds that watched orders get to become readable once all are final.
LATE_S = 10.0
#: Answers over which the live figures are taken.
RECENT = 1_000


@dataclass
class Loaded:
    """What a load did.

    `placed` orders were accepted, and became `confirmed`, `rejected` or, as their card was declined, `cancelled`; `refused` ones were not accepted, for these
    `reasons`. `skipped_lines` and `skipped_baskets` were left out by the rules of demo/baskets.py. Where no order was
    new, there is no freshness. `read_ms` is how long it took to read what had just been written, with its token.
    """

    placed: int
    confirmed: int
    rejected: int
    cancelled: int
    refused: int
    skipped_baskets: int
    skipped_lines: int
    products: int
    elapsed_s: float
    orders_per_s: float
    http_ms: dict[str, float | None]
    freshness_ms: dict[str, float | None]
    read_ms: dict[str, float | None]
    reasons: dict[str, int] = field(default_factory=dict)


def load(orders: int, rate: float | None = None, card_of: Callable[[str], str] = good) -> Loaded:
    """Places the first `orders` baskets, `rate` a second or without pause, and waits until all are answered.

    `card_of` says with which card the order of a key is paid for.
    Raises LoadFailed.
    """
    baskets = Baskets(orders)
    address, partitions = settings.setting("API_URL"), settings.partitions()
    views = Views(settings.redis_url(), partitions)
    asyncio.run(stock_up(address, views, baskets.products, STOCK))
    tally = Tally()
    with Freshness(settings.redis_url(), partitions) as freshness:
        started = monotonic()
        with Bar("Placing orders", baskets.orders) as bar:
            asyncio.run(_place(address, _orders(baskets, card_of), rate, tally, freshness, bar))
        elapsed_s = monotonic() - started
        with Bar("Waiting for their outcome", len(tally.accepted)) as bar:
            statuses = await_final(views, tally.accepted, bar.update)
        fresh_ms = freshness.finish(LATE_S)
    return _summary(baskets, tally, statuses, elapsed_s, fresh_ms)


async def stock_up(address: str, views: Views, products: Sequence[Product], units: int) -> None:
    """Creates those products that are not there, and gives units to those that have no stock item.

    Raises LoadFailed.
    """
    async with Client(address) as client:
        with Bar("Creating products", len(products)) as bar:
            for start in range(0, len(products), AT_ONCE):
                batch = products[start : start + AT_ONCE]
                await _create(client, batch)
                await receive(client, _without_stock(views, batch), units)
                bar.update(start + len(batch))


async def _create(client: Client, products: Sequence[Product]) -> None:
    body = {"products": [{**product._asdict(), "currency": CURRENCY} for product in products]}
    answer = await post(client, "/v1/products:batch", orjson.dumps(body))
    _check(answer.status, answer.body, {HTTPStatus.CREATED, HTTPStatus.CONFLICT})


async def receive(client: Client, skus: Sequence[str], units: int) -> None:
    """Gives units to each of at most AT_ONCE products. Raises LoadFailed."""
    if not skus:
        return
    body = {"receipts": [{"sku": sku, "quantity": units} for sku in skus]}
    answer = await post(client, "/v1/stock:receive", orjson.dumps(body), {"Idempotency-Key": str(uuid4())})
    _check(answer.status, answer.body, {HTTPStatus.OK})


def _check(status: int, body: bytes, fine: set[HTTPStatus]) -> None:
    """Raises LoadFailed unless the batch, and every item of it, has a fine status."""
    if status != HTTPStatus.OK:
        raise LoadFailed(f"a batch was answered with {status}: {body.decode(errors='replace')[:500]}")
    for result in orjson.loads(body)["results"]:
        if result["status"] not in fine:
            raise LoadFailed(f"{result['sku']} was answered with {result['status']}: {result['detail']}")


def _without_stock(views: Views, products: Sequence[Product]) -> list[str]:
    skus = [product.sku for product in products]
    return [sku for sku, row in zip(skus, views.many("stock", skus), strict=True) if row is None]


def _orders(baskets: Baskets, card_of: Callable[[str], str]) -> Iterator[Order]:
    for basket in baskets.baskets():
        key = f"journey-{basket.basket_id}"
        yield order(key, basket.customer_id, basket.lines, card_of(key))


async def _place(
    address: str, orders: Iterator[Order], rate: float | None, tally: Tally, freshness: Freshness, bar: Bar
) -> None:
    pace = steadily(rate) if rate else at_once
    showing = asyncio.create_task(_show(tally, freshness, bar))
    try:
        await place(address, orders, tally, pace, freshness.offer, READ_EVERY)
    finally:
        showing.cancel()
    bar.update(len(tally.http_s), _figures(tally, freshness))


async def _show(tally: Tally, freshness: Freshness, bar: Bar) -> None:
    while True:
        bar.update(len(tally.http_s), _figures(tally, freshness))
        await asyncio.sleep(REFRESH_S)


def _figures(tally: Tally, freshness: Freshness) -> str:
    http = [second * 1_000 for second in tally.http_s[-RECENT:]]
    fresh = freshness.seen_ms()[-RECENT:]
    return (
        f"HTTP p50 {percentile(http, 0.5)} p99 {percentile(http, 0.99)} ms"
        f" · in the view p50 {percentile(fresh, 0.5)} p99 {percentile(fresh, 0.99)} ms"
    )


def _summary(
    baskets: Baskets, tally: Tally, statuses: Counter[str], elapsed_s: float, fresh_ms: Sequence[float]
) -> Loaded:
    return Loaded(
        placed=len(tally.accepted),
        confirmed=sum(statuses[each] for each in ("confirmed", "stopping", "completed")),
        rejected=statuses["rejected"],
        cancelled=statuses["cancelled"],
        refused=tally.refused.total(),
        skipped_baskets=baskets.skipped_baskets,
        skipped_lines=baskets.skipped_lines,
        products=len(baskets.products),
        elapsed_s=round(elapsed_s, 3),
        orders_per_s=round(len(tally.http_s) / elapsed_s, 1),
        http_ms=_milliseconds(tally.http_s),
        read_ms=_milliseconds(tally.read_s),
        freshness_ms={
            "p50": percentile(fresh_ms, 0.5),
            "p99": percentile(fresh_ms, 0.99),
            "max": percentile(fresh_ms, 1),
        },
        reasons=dict(tally.refused.most_common()),
    )


def _milliseconds(seconds: Sequence[float]) -> dict[str, float | None]:
    found = [each * 1_000 for each in seconds]
    return {"p50": percentile(found, 0.5), "p99": percentile(found, 0.99)}
