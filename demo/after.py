"""What happens to orders once they are placed: staff and the carrier do their work, and customers change their minds."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic
from typing import Any

import orjson
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from demo.baskets import Product
from demo.client import Client
from demo.customers import OTHER_SKU, SKU, Shop, live
from demo.load import stock_up
from demo.placing import STUCK_S, LoadFailed
from demo.staff import Staff
from kernel import settings
from ops.progress import Bar
from streams.engine.reader import Views
from streams.engine.stores.clickhouse import connect

_LOOK_S = 0.2
_UNITS = 1_000
_PRODUCTS = [
    Product(SKU, "Mug", "HOME", "KITCHEN", "Marea", 850),
    Product(OTHER_SKU, "Shirt", "HOME", "CLOTHES", "Marea", 1_990),
]
#: What waits longest to be packed.
_TO_PACK = "SELECT DISTINCT order_id::String FROM shipments WHERE status = 'planned' ORDER BY updated_at LIMIT {most:UInt32}"
_STATES = """
SELECT status, reason, count() AS orders FROM orders GROUP BY status, reason ORDER BY status, orders DESC, reason
"""


@dataclass(frozen=True)
class Ended:
    """By status and reason, how many orders there are; what needs a person, by what and kind."""

    states: Sequence[tuple[str, str, int]]
    cases: Mapping[str, int]


def follow(orders: int) -> Mapping[str, int]:
    """Has staff see to so many orders, the oldest first, while certain customers do what they do, until all that has come to its end.

    Gives what staff did, by command. Raises LoadFailed.
    """
    address, views = settings.setting("API_URL"), Views(settings.redis_url(), settings.partitions())
    staff = Staff(address, settings.setting("OPERATOR_KEY"), views)
    shop = Shop(address, views, staff, settings.setting("CARRIER_URL"), settings.setting("CARRIER_KEY"))
    with connect(settings.clickhouse_url()) as client:
        packed = [order_id for (order_id,) in client.query(_TO_PACK, {"most": orders}).result_rows]
    staff.take(packed)
    asyncio.run(_follow(shop, packed))
    return staff.done


def ended() -> Ended:
    """What has become of all orders, once the tables show it. Raises LoadFailed."""
    with connect(settings.clickhouse_url()) as client:
        states = [(status, reason, orders) for status, reason, orders in client.query(_STATES).result_rows]
    return Ended(states, asyncio.run(cases(settings.setting("API_URL"))))


async def _follow(shop: Shop, packed: Sequence[str]) -> None:
    await stock_up(shop.address, shop.views, _PRODUCTS, _UNITS)
    try:
        async with asyncio.TaskGroup() as group:
            working = group.create_task(shop.staff.work())
            await live(shop)
            await _until_at_the_door(shop.views, packed)
            working.cancel()
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _until_at_the_door(views: Views, order_ids: Sequence[str]) -> None:
    """Raises LoadFailed when none of the parcels gets on for STUCK_S."""
    progressed, before = monotonic(), -1
    with Bar("Packing and delivering", len(order_ids)) as bar:
        while (there := _at_the_door(views, order_ids)) < len(order_ids):
            bar.update(there)
            if there > before:
                progressed, before = monotonic(), there
            elif monotonic() - progressed > STUCK_S:
                raise LoadFailed(f"{len(order_ids) - there} parcels do not get on: see `./marea status`")
            await asyncio.sleep(_LOOK_S)
        bar.update(there)


def _at_the_door(views: Views, order_ids: Sequence[str]) -> int:
    """Of how many orders nothing is in the house or under way, or somebody has to see to it."""
    try:
        rows = [orjson.loads(row) for row in views.many("fulfilment", order_ids) if row]
    except (RedisConnectionError, RedisTimeoutError):
        return 0
    return sum(row["status"] == "finished" or bool(row["cases"]) for row in rows)


async def cases(address: str) -> dict[str, int]:
    """What needs a person, by what it is about and kind. Raises LoadFailed."""
    headers = {"Authorization": f"Bearer {settings.setting('OPERATOR_KEY')}"}
    async with Client(address) as client:
        answer = await client.get("/v1/cases?limit=1000", headers)
    if answer.status != HTTPStatus.OK:
        raise LoadFailed(f"GET /v1/cases: {answer.status}")
    found: list[dict[str, Any]] = answer.json()["cases"]
    counted: dict[str, int] = {}
    for each in found:
        name = f"{each['about']}: {each['kind']}"
        counted[name] = counted.get(name, 0) + 1
    return counted
