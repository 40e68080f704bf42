"""Streams of changes through the front door, from the real topics."""

import asyncio
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from time import monotonic
from typing import Any

import orjson
import pytest
import requests

from api.broadcast.house import HEARTBEAT_S, PLACES
from kernel import settings
from local.stack import Stack
from tests.stack.buyers import Buyers, buying
from tests.stack.following import following
from tests.stack.shop import Shop, eventually, lines_of

pytestmark = pytest.mark.usefixtures("stack")

#: Orders that are accepted before and after something happens.
BEFORE = 10

STREAM = "/v1/streams/stock"
#: Streams that are opened at once. Of more than 511 connections that wait to be accepted, the kernel forgets some, whose
#: clients knock again after 1, 3, 7, ... 63 seconds.
AT_ONCE = 100
#: Connections without a stream that nginx keeps for what comes next, at most.
KEPT = 64
#: Seconds that the supervisor gives a process to end.
KILLED_AFTER_S = 30
#: As /proc/net/tcp has it.
ESTABLISHED = "01"


def listen(
    shop: Shop, path: str, count: int, last_id: str | None = None, act: Any = lambda: None
) -> tuple[list[dict[str, Any]], str]:
    """The next changes of a stream, and the id of the last one."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    seen: list[dict[str, Any]] = []
    event_id = ""
    with requests.get(f"{shop.url}{path}", headers=headers, stream=True, timeout=30) as stream:
        assert stream.status_code == 200, stream.text
        for line in lines_of(stream):
            if line.startswith("id: "):
                event_id = line.removeprefix("id: ")
                if act:
                    threading.Thread(target=act).start()
                    act = None
            if line.startswith("data: "):
                seen.append(orjson.loads(line.removeprefix("data: ")))
            if len(seen) == count and not line:
                return seen, event_id
    raise AssertionError("the stream ended")


def test_the_stock_stream_tells_every_change_and_resumes_after_the_last_one_seen() -> None:
    shop = Shop()
    sku = shop.stocked("milk", 10)
    path = f"{STREAM}?sku={sku}"
    listen(shop, path, 1, "0-0-0-0")  # until the receipt has been told: from now on is from after that
    seen, last_id = listen(shop, path, 2, act=lambda: [shop.order([(sku, 1)]) for _ in range(2)])
    assert [change["reserved"] for change in seen] == [1, 2]
    told = {"type", "sku", "version", "on_hand", "reserved", "available", "updated_at"}
    assert {*seen[0]} == told, "and nothing of whose orders they are"
    for _ in range(3):
        shop.order([(sku, 1)])
    seen, _ = listen(shop, path, 3, last_id)
    assert [change["reserved"] for change in seen] == [3, 4, 5]
    seen, _ = listen(shop, path, 6, "0-0-0-0")
    assert [change["type"] for change in seen] == ["StockReceived", *["StockReserved"] * 5]


def test_a_customer_hears_what_becomes_of_their_orders() -> None:
    shop = Shop()
    sku = shop.stocked("milk", 10)
    path = f"/v1/streams/orders?customer_id=c-{shop.name}"
    seen, _ = listen(shop, path, 3, act=lambda: shop.order([(sku, 1)], customer=f"c-{shop.name}"))
    assert [change["status"] for change in seen] == ["placed", "reserved", "confirmed"]

    def is_last() -> bool:
        [summary] = shop.get(f"/customers/c-{shop.name}/orders").json()["orders"]
        return {"type": "OrderConfirmed", **summary} == seen[-1]

    assert eventually(is_last), "it is what a GET gives"


def test_the_stream_of_an_order_tells_of_its_payment_and_its_parcels_too_and_resumes() -> None:
    shop = Shop()
    sku = shop.stocked("milk", 10)
    order_id = shop.order([(sku, 1)]).json()["id"]
    path, beginning = f"/v1/orders/{order_id}/stream", "-".join(["0"] * 4 * settings.partitions())
    eventually(lambda: (shop.get(f"/orders/{order_id}").json() or {}).get("fulfilment"))
    seen, _ = listen(shop, path, 5, beginning)
    first, last_id = listen(shop, path, 2, beginning)
    rest, _ = listen(shop, path, 3, last_id)
    assert sorted(map(str, first + rest)) == sorted(map(str, seen)), "all of it, once"
    assert {about: [one["type"] for one in seen if one["about"] == about] for about in ("order", "payment", "fulfilment")} == {
        "order": ["OrderPlaced", "OrderReserved", "OrderConfirmed"],
        "payment": ["PaymentAuthorized"],
        "fulfilment": ["ShipmentsPlanned"],
    }
    assert shop.get(f"/orders/{order_id}/stream?customer_id=ada").status_code == 422


@pytest.fixture(scope="module")
def buyers(stack: Stack) -> Iterator[Buyers]:
    shop = Shop()
    with buying([shop.stocked(f"item{n}", 1_000_000) for n in range(10)]) as buyers:
        yield buyers


def test_nothing_is_missed_or_told_twice_however_the_process_ends(stack: Stack, buyers: Buyers) -> None:
    shop = Shop()
    with following(f"{shop.url}{STREAM}") as follower:
        buyers.await_more(BEFORE)
        stack.kill("broadcast")
        buyers.await_more(BEFORE)
        eventually(lambda: follower.opened == 2)
        buyers.await_more(BEFORE)
        stack.stop("broadcast")
        buyers.await_more(BEFORE)
        stack.start("broadcast")
        eventually(lambda: follower.opened == 3)
        buyers.await_more(BEFORE)
        stack.kill("nginx")
        eventually(lambda: follower.opened == 4)
        buyers.await_more(BEFORE)
        last = {sku: shop.get(f"/stock/{sku}").json()["version"] for sku in follower.versions}
        eventually(lambda: all(follower.versions[sku][-1] >= version for sku, version in last.items()))
    for versions in follower.versions.values():
        assert versions == list(range(versions[0], versions[-1] + 1))


def test_streams_end_with_their_process_long_before_it_would_be_killed(stack: Stack) -> None:
    shop = Shop()
    with requests.get(f"{shop.url}{STREAM}", stream=True, timeout=30) as stream:
        lines = lines_of(stream)
        assert next(lines).startswith("retry: ")
        began = monotonic()
        stack.stop("broadcast")
        try:
            for _ in lines:  # it ends as HTTP says: else this raises
                pass
            assert monotonic() - began < KILLED_AFTER_S / 2
        finally:
            stack.start("broadcast")
            stack.wait_ready("broadcast")


def test_a_full_house_refuses_more_and_nothing_else_suffers(stack: Stack) -> None:
    """And a place is free within a second of somebody's hanging up, although nothing happens; soon all of them are."""
    shop = Shop()
    sku = shop.stocked("milk", 100)

    async def fill() -> None:
        writers: list[asyncio.StreamWriter] = []
        while len(writers) < PLACES:
            writers += await asyncio.gather(*(open_stream(stack) for _ in range(AT_ONCE)))
        answer = await asyncio.to_thread(lambda: shop.http.get(f"{shop.url}{STREAM}", timeout=30))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.headers["Content-Type"] == "application/problem+json"
        order = await asyncio.to_thread(lambda: shop.order([(sku, 1)]).json())
        assert (await asyncio.to_thread(lambda: shop.settled(order["id"])))["status"] == "confirmed"
        await asyncio.to_thread(lambda: stack.wait_ready("broadcast"))
        assert taken(stack) >= PLACES
        writers.pop().close()
        await asyncio.to_thread(lambda: eventually(lambda: is_let_in(shop), patience_s=1))
        for writer in writers:
            writer.close()

    asyncio.run(fill())
    eventually(lambda: taken(stack) <= KEPT, patience_s=HEARTBEAT_S / 3)  # a heartbeat would find that they are gone
    assert listen(shop, f"{STREAM}?sku={sku}", 1, "0-0-0-0")


async def open_stream(stack: Stack) -> asyncio.StreamWriter:
    """A stream on which nothing happens."""
    host, port = stack.layout.address("nginx").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {STREAM}?sku=nothing HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert b" 200 " in await reader.readline()
    return writer


def is_let_in(shop: Shop) -> bool:
    with requests.get(f"{shop.url}{STREAM}?sku=nothing", stream=True, timeout=30) as stream:
        return stream.status_code == HTTPStatus.OK


def taken(stack: Stack) -> int:
    """Connections to the streams."""
    port = f":{stack.layout.port_of('broadcast'):04X}"
    found = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return sum(1 for line in found if line[1].endswith(port) and line[3] == ESTABLISHED)


def test_the_front_door_ends_by_itself_though_somebody_listens(stack: Stack) -> None:
    """Else the supervisor would kill it after 30 seconds."""
    shop = Shop()
    with requests.get(f"{shop.url}{STREAM}", stream=True, timeout=30) as stream:
        assert stream.status_code == 200
        began = monotonic()
        stack.stop("nginx")
        try:
            assert monotonic() - began < 20
        finally:
            stack.start("nginx")
            stack.wait_ready("nginx")
