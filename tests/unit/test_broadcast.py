"""What those who listen to changes can rely on: the whole service, over HTTP, with topics in memory."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from time import monotonic
from typing import Any, NamedTuple

import aiohttp
import orjson
import pytest
from aiohttp import web

from api.aio import listen
from api.broadcast import changes, channel, house, tail
from api.broadcast.changes import ORDERS as ORDERS_KIND
from api.broadcast.changes import STOCK as STOCK_KIND
from api.broadcast.changes import Change
from api.broadcast.history import History
from api.broadcast.reader import MOST_RECORDS, Bounds, Reader
from api.broadcast.routes import create_app
from schemas import fulfilment, order, payment, returns, stock
from schemas.event import Event
from streams.engine.batch import Place, Record
from streams.views.inventory import stock as stock_view
from tests.events import CODEC, NEW_ORDER, ORDER, STOCK, life
from tests.memory_topics import PARTITIONS, MemorySource, MemoryTopics

URL = "/v1/streams/stock"
ORDERS = "/v1/streams/orders?customer_id=ada"
ONE_ORDER = f"/v1/orders/{ORDER}/stream"
PATIENCE_S = 20.0


@pytest.fixture(autouse=True)
def _quick_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "_IDLE_S", 0.01)
    monkeypatch.setattr(tail, "_PAUSE_S", 0.05)


def received(number: int, sku: str | None = None) -> Event:
    """The event number `number` of a stock item; by default one of eleven."""
    [event, *_] = life("marea.stock")
    sku = sku or f"sku-{number % 11}"
    return event._replace(key=sku, version=number + 1, data=STOCK | {"sku": sku, "on_hand": number})


class Told(NamedTuple):
    """One server-sent event."""

    id: str
    data: dict[str, Any] | None


class Stream:
    """A stream as its client reads it."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> Told:
        """The next event; comments are passed over. Raises EOFError when the stream ends."""
        fields: dict[str, str] = {}
        while True:
            line = (await asyncio.wait_for(self.response.content.readline(), PATIENCE_S)).decode()
            if not line:
                raise EOFError
            if line == "\n" and "id" in fields:
                return Told(fields["id"], orjson.loads(fields["data"]) if "data" in fields else None)
            name, _, value = line.rstrip("\n").partition(": ")
            fields[name] = value

    async def changes(self, count: int) -> list[Told]:
        """The next that say something."""
        found: list[Told] = []
        while len(found) < count:
            told = await self.next()
            found += [told] if told.data else []
        return found


class Service:
    """The service as it runs, and its topics."""

    def __init__(self, topics: MemoryTopics, url: str, http: aiohttp.ClientSession) -> None:
        self.topics, self.url, self.http = topics, url, http

    def publish(self, *events: Event) -> None:
        for event in events:
            self.topics.publish(stock.TOPIC, event)

    @asynccontextmanager
    async def stream(self, path: str = URL, last_id: str | None = None) -> AsyncIterator[Stream]:
        """A stream that is open: its first event has come."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        async with self.http.get(self.url + path, headers=headers) as response:
            assert response.status == 200, await response.text()
            opened = Stream(response)
            assert (await opened.next()).data is None
            yield opened

    async def problem(self, path: str, method: str = "GET", **headers: str) -> dict[str, Any]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(method, self.url + path, headers=names) as response:
            assert response.content_type == "application/problem+json"
            problem: dict[str, Any] = orjson.loads(await response.read())
            assert problem["status"] == response.status
            return problem | {"headers": response.headers}


@asynccontextmanager
async def serving(topics: MemoryTopics, places: int = 100) -> AsyncIterator[tuple[Service, web.AppRunner]]:
    app = create_app(topics.source, PARTITIONS, lambda: CODEC, places)
    runner = web.AppRunner(app.application, handler_cancellation=True, shutdown_timeout=2.0)
    await runner.setup()
    await web.SockSite(runner, listen("127.0.0.1", 0)).start()
    [address] = runner.addresses
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            service = Service(topics, f"http://{address[0]}:{address[1]}", http)
            await until(lambda: is_healthy(service))
            yield service, runner
    finally:
        await runner.cleanup()


async def is_healthy(service: Service) -> bool:
    async with service.http.get(f"{service.url}/health/ready") as response:
        return response.status == 200


async def until(condition: Callable[[], Awaitable[bool]], patience_s: float = PATIENCE_S) -> None:
    began = monotonic()
    while not await condition():
        assert monotonic() - began < patience_s, "it has not come true"
        await asyncio.sleep(0.01)


def run(test: Callable[[Service], Awaitable[None]], topics: MemoryTopics | None = None, places: int = 100) -> None:
    async def main() -> None:
        async with serving(topics or MemoryTopics(), places) as (service, _):
            await test(service)

    asyncio.run(main())


def versions(told: Sequence[Told]) -> list[int]:
    return [each.data["version"] for each in told if each.data]


def by_sku(told: Sequence[Told]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for each in told:
        if each.data:
            found.setdefault(each.data["sku"], []).append(each.data["version"])
    return found


def test_a_stream_tells_each_change_with_the_stock_item_after_it_and_nothing_of_orders() -> None:
    async def test(service: Service) -> None:
        async with service.stream() as stream:
            service.publish(*life("marea.stock"))
            told = [each.data for each in await stream.changes(5)]
        assert [(one["type"], one["version"], one["on_hand"], one["reserved"]) for one in told if one] == [
            ("StockReceived", 1, 5, 0),
            ("StockAdjusted", 2, 4, 0),
            ("StockReserved", 3, 4, 2),
            ("StockReleased", 4, 4, 1),
            ("StockShipped", 5, 3, 0),
        ]
        assert {*(told[2] or {})} == {"type", "sku", "version", "on_hand", "reserved", "available", "updated_at"}

    run(test)


def test_a_stream_can_be_of_some_skus() -> None:
    async def test(service: Service) -> None:
        async with service.stream(f"{URL}?sku=sku-3&sku=sku-5") as some, service.stream() as everything:
            service.publish(*map(received, range(22)))
            assert by_sku(await some.changes(4)) == {"sku-3": [4, 15], "sku-5": [6, 17]}
            assert len(by_sku(await everything.changes(22))) == 11

    run(test)


def test_a_customer_hears_of_their_own_orders_and_of_no_others() -> None:
    async def test(service: Service) -> None:
        async with service.stream(ORDERS) as stream:
            for customer in ("eve", "ada"):
                placed, reserved, confirmed, *_ = life("marea.order")
                for event in (placed, reserved, confirmed):
                    service.topics.publish(order.TOPIC, event._replace(data=event.data | {"customer_id": customer}))
            told = [each.data for each in await stream.changes(3)]
        assert [one["status"] for one in told if one] == ["placed", "reserved", "confirmed"]
        assert told[0] == {
            "type": "OrderPlaced",
            "id": placed.key,
            "version": 1,
            "customer_id": "ada",
            "status": "placed",
            "currency": "USD",
            "total_minor": 300,
            "due_minor": 300,
            "placed_at": "2026-01-01T12:00:00.000000Z",
        }

    run(test)


def test_the_stream_of_an_order_tells_all_that_belongs_to_it_and_nothing_of_others() -> None:
    async def test(service: Service) -> None:
        topics = (order.TOPIC, payment.TOPIC, fulfilment.TOPIC, returns.TOPIC)
        async with service.stream(ONE_ORDER) as stream:
            for topic in topics:
                for event in life(topic):
                    service.topics.publish(topic, event._replace(key=NEW_ORDER))
                    service.topics.publish(topic, event)
            count = sum(len(life(topic)) for topic in topics)
            told = [each.data for each in await stream.changes(count) if each.data]
        heard = {
            about: [one["type"] for one in told if one["about"] == about]
            for about in ("order", "payment", "fulfilment", "returns")
        }
        assert [*heard.values()] == [[event.type for event in life(topic)] for topic in topics]
        assert {one.get("id", one.get("order_id")) for one in told} == {ORDER}
        assert not any({"card_token", "steps", "units"} & one.keys() for one in told)

    run(test)


def test_the_stream_of_an_order_goes_on_after_the_last_that_was_seen_of_any_topic() -> None:
    async def test(service: Service) -> None:
        topics = (payment.TOPIC, order.TOPIC, returns.TOPIC, fulfilment.TOPIC)
        events = [(topic, event) for number in range(4) for topic in topics for event in life(topic)[number : number + 1]]
        async with service.stream(ONE_ORDER) as stream:
            told: list[Told] = []
            for topic, event in events:  # one by one: in just this order
                service.topics.publish(topic, event)
                told += await stream.changes(1)
        types = [event.type for _, event in events]
        assert [each.data["type"] for each in told if each.data] == types
        for heard in (1, 11, 6):
            async with service.stream(ONE_ORDER, last_id=told[heard - 1].id) as stream:
                rest = await stream.changes(len(events) - heard)
                assert [each.data["type"] for each in rest if each.data] == types[heard:]
        async with service.stream(ONE_ORDER, last_id=rest[0].id) as stream:  # an id of one who has caught up
            rest = await stream.changes(len(events) - heard - 1)
            assert [each.data["type"] for each in rest if each.data] == types[heard + 1 :]

    run(test)


@pytest.mark.parametrize("remembered", [10_000, 40, 4])
def test_whatever_id_one_comes_back_with_nothing_is_missed_and_nothing_comes_twice(
    monkeypatch: pytest.MonkeyPatch, remembered: int
) -> None:
    """From memory, from the topics, and from both."""
    monkeypatch.setattr(channel, "RECENT", remembered)
    monkeypatch.setattr(house, "_PIECE", 7)

    async def test(service: Service) -> None:
        told: list[Told] = []
        async with service.stream() as stream:
            for number in range(120):  # one by one: in another order than that in which topics are read again
                service.publish(received(number))
                told += await stream.changes(1)
        whole = by_sku(told)
        for heard in (0, 1, 37, 80, 119):
            before = told[heard - 1].id if heard else "0-0-0-0"
            async with service.stream(last_id=before) as stream:
                rest = await stream.changes(120 - heard)
                assert by_sku(told[:heard] + rest) == whole
            # The ids of one who catches up are as good as those of one who was there.
            middle = rest[len(rest) // 2]
            async with service.stream(last_id=middle.id) as stream:
                rest = rest[: len(rest) // 2 + 1] + await stream.changes(len(rest) - len(rest) // 2 - 1)
                assert by_sku(told[:heard] + rest) == whole

    run(test)


def test_one_who_catches_up_while_more_happens_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "RECENT", 16)
    topics = MemoryTopics()
    for number in range(3 * MOST_RECORDS):
        topics.publish(stock.TOPIC, received(number))

    async def test(service: Service) -> None:
        async with service.stream(last_id="0-0-0-0") as stream:
            for number in range(3 * MOST_RECORDS, 3 * MOST_RECORDS + 200):
                service.publish(received(number))
                if number % 10 == 0:
                    await asyncio.sleep(0)
            told = by_sku(await stream.changes(3 * MOST_RECORDS + 200))
        assert told == {
            f"sku-{n}": list(range(n + 1, 3 * MOST_RECORDS + 201, 11)) for n in range(11)
        }

    run(test, topics)


def test_one_who_is_ahead_of_this_process_waits_for_it() -> None:
    """As one who comes from another process, where things came a moment sooner."""

    async def test(service: Service) -> None:
        async def is_troubled() -> bool:
            return not await is_healthy(service)

        async with service.stream() as stream:
            service.publish(received(0, "milk"))
            [first] = await stream.changes(1)
        service.topics.is_down = True
        await until(is_troubled)
        service.publish(received(1, "milk"))
        service.topics.is_down = False
        [partition] = [number for number, at in enumerate(first.id.split("-")) if at == "1"]
        positions = first.id.split("-")
        positions[partition] = "2"
        async with service.stream(last_id="-".join(positions)) as stream:
            service.publish(received(2, "milk"))
            assert versions(await stream.changes(1)) == [3]

    run(test)


def test_ids_say_how_far_a_stream_is_even_when_nothing_was_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house, "HEARTBEAT_S", 3_600)

    async def test(service: Service) -> None:
        async with service.stream() as stream:
            service.publish(*map(received, range(50)))
            await stream.changes(50)
        async with service.stream(f"{URL}?sku=other", last_id="0-0-0-0") as stream:
            told = await stream.next()
            assert told.data is None
            assert sum(map(int, told.id.split("-"))) == 50

    run(test)


def test_a_client_that_hangs_up_frees_its_place_although_nothing_happens() -> None:
    async def test(service: Service) -> None:
        async with service.stream():
            assert (await service.problem(URL))["status"] == 503
        began = monotonic()

        async def is_free() -> bool:
            async with service.http.get(service.url + URL) as response:
                return response.status == 200

        await until(is_free)
        assert monotonic() - began < 1

    run(test, places=1)


def test_a_full_house_says_so_and_serves_those_who_are_in() -> None:
    async def test(service: Service) -> None:
        async with service.stream() as first, service.stream(ORDERS):
            for _ in range(3):
                problem = await service.problem(URL)
                assert (problem["status"], problem["headers"]["Retry-After"]) == (503, "1")
            assert "2 streams" in problem["detail"]
            assert await is_healthy(service)
            service.publish(received(0))
            assert versions(await first.changes(1)) == [1]

    run(test, places=2)


def test_one_who_is_too_slow_is_sent_away_and_hinders_nobody() -> None:
    topics = MemoryTopics()

    async def test(service: Service) -> None:
        host, port = service.url.removeprefix("http://").split(":")
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.setblocking(False)  # noqa: FBT003  # as Python has it
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, (host, int(port)))
        await loop.sock_sendall(slow, f"GET {URL} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b"200 OK" in await loop.sock_recv(slow, 100)
        async with service.stream() as quick:
            assert (await service.problem(URL))["status"] == 503
            heard = 0

            async def is_sent_away() -> bool:
                nonlocal heard
                service.publish(*map(received, range(heard, heard + 1_000)))
                heard += 1_000
                assert len(await quick.changes(1_000)) == 1_000
                async with service.http.get(service.url + URL) as response:
                    return response.status == 200

            await until(is_sent_away)
        slow.close()

    run(test, topics, places=2)


def test_what_can_not_be_read_is_not_told_and_the_rest_is() -> None:
    async def test(service: Service) -> None:
        async with service.stream() as stream:
            service.topics.publish(stock.TOPIC, received(0, "milk"), b"no event")
            service.publish(received(1, "milk"))
            [told] = await stream.changes(1)
            assert versions([told]) == [2]
        async with service.stream(last_id="0-0-0-0") as stream:
            assert versions(await stream.changes(1)) == [2]

    run(test)


def test_while_the_topics_are_away_who_listens_waits_and_misses_nothing() -> None:

    async def test(service: Service) -> None:
        async with service.stream() as stream:
            service.publish(received(0, "milk"))
            assert versions(await stream.changes(1)) == [1]
            service.topics.is_down = True

            async def is_noticed() -> bool:
                return not await is_healthy(service)

            await until(is_noticed)
            opened = service.topics.opened
            service.publish(received(1, "milk"))
            service.topics.is_down = False
            assert versions(await stream.changes(1)) == [2]
            assert service.topics.opened > opened

    run(test)


def test_a_process_that_starts_without_topics_refuses_until_it_has_them() -> None:

    async def main() -> None:
        topics = MemoryTopics()
        topics.is_down = True
        app = create_app(topics.source, PARTITIONS, lambda: CODEC)
        runner = web.AppRunner(app.application, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        [address] = runner.addresses
        try:
            async with aiohttp.ClientSession() as http:
                service = Service(topics, f"http://{address[0]}:{address[1]}", http)
                for path in (URL, "/health/ready"):
                    problem = await service.problem(path)
                    assert (problem["status"], problem["headers"]["Retry-After"]) == (503, "1")
                topics.is_down = False
                await until(lambda: is_healthy(service))
                async with service.stream():
                    pass
        finally:
            await runner.cleanup()

    asyncio.run(main())


def test_a_process_that_finds_but_some_of_the_topics_begins_with_all_of_them_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    class HalfThere(MemorySource):
        def bounds(self, topic: str, partitions: int) -> list[Bounds]:
            asked.append(topic)
            if asked.count(topic) == 1 and topic == order.TOPIC:
                raise ConnectionError
            return super().bounds(topic, partitions)

    topics = MemoryTopics()
    monkeypatch.setattr(topics, "source", lambda: HalfThere(topics))

    async def test(service: Service) -> None:
        async with service.stream(ORDERS) as stream:
            [placed, *_] = life("marea.order")
            topics.publish(order.TOPIC, placed._replace(data=placed.data | {"customer_id": "ada"}))
            assert versions(await stream.changes(1)) == [1]

    run(test, topics)


def test_from_now_on_is_not_from_before_the_process_began() -> None:
    topics = MemoryTopics()
    for number in range(10):
        topics.publish(stock.TOPIC, received(number))

    async def test(service: Service) -> None:
        async with service.stream() as stream:
            service.publish(received(10))
            assert versions(await stream.changes(1)) == [11]

    run(test, topics)


def test_a_stream_that_is_ended_ends_cleanly_and_soon() -> None:
    async def main() -> None:
        async with serving(MemoryTopics()) as (service, runner), service.stream() as stream:
            began = monotonic()
            await runner.cleanup()
            with pytest.raises(EOFError):
                await stream.next()
            assert monotonic() - began < 2

    asyncio.run(main())


def test_both_sides_are_shown_that_the_other_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house, "HEARTBEAT_S", 0.05)

    async def test(service: Service) -> None:
        async with service.http.get(service.url + URL) as response:
            lines = [await asyncio.wait_for(response.content.readline(), PATIENCE_S) for _ in range(6)]
        retry, event_id, _, comment, moved, _ = [line.decode().strip() for line in lines]
        assert 1_000 <= int(retry.removeprefix("retry: ")) <= 3_000
        assert (event_id, comment, moved) == ("id: 0-0-0-0", ": still here", "id: 0-0-0-0")

    run(test)


@pytest.mark.parametrize(
    "event_id", ["x", "-1", "1-", "1--2", "1 2", "99999999999999999999", "0-0-0", "0-0-0-0-0", "0-0-0-1"]
)
def test_an_event_id_that_is_not_of_the_stream_is_a_bad_request(event_id: str) -> None:
    async def test(service: Service) -> None:
        problem = await service.problem(URL, Last_Event_ID=event_id)
        assert (problem["status"], [error["field"] for error in problem["errors"]]) == (400, ["Last-Event-ID"])

    run(test)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/streams/orders", "customer_id"),
        ("/v1/streams/orders?customer_id=a%20b", "customer_id"),
        (f"{ORDERS}&sku=milk", "sku"),
        (f"{URL}?sku=", "sku.0"),
        (f"{URL}?{'&'.join(f'sku={n}' for n in range(101))}", "sku"),
        (f"{URL}?other=1", "other"),
        ("/v1/orders/none/stream", "order_id"),
        (f"{ONE_ORDER}?customer_id=ada", "customer_id"),
    ],
)
def test_what_can_not_be_asked_for_is_named(path: str, field: str) -> None:
    async def test(service: Service) -> None:
        problem = await service.problem(path)
        assert (problem["status"], [error["field"] for error in problem["errors"]]) == (422, [field])

    run(test)


def test_what_is_not_there_or_not_wanted_is_a_problem_too() -> None:
    async def test(service: Service) -> None:
        assert (await service.problem("/v1/streams/products"))["status"] == 404
        refused = await service.problem(URL, "POST")
        assert (refused["status"], refused["headers"]["Allow"]) == (405, "GET,HEAD")
        for accepted, status in (("text/html", 406), ("text/event-stream;q=0", 406)):
            assert (await service.problem(URL, Accept=accepted))["status"] == status
        for accepted in ("*/*", "text/*;q=0.1", "text/html, text/event-stream"):
            async with service.http.get(service.url + URL, headers={"Accept": accepted}) as answer:
                assert answer.status == 200

    run(test)


def test_a_body_is_refused() -> None:
    async def test(service: Service) -> None:
        async with service.http.get(service.url + URL, data=b"x" * 1_000_000) as answer:
            assert (answer.status, answer.content_type) == (400, "application/problem+json")

    run(test)


def test_when_a_topic_has_gone_back_all_streams_end_and_new_ones_begin() -> None:
    async def test(service: Service) -> None:
        async with service.stream() as stream:
            service.publish(*map(received, range(30)))
            last = (await stream.changes(30))[-1].id
            with service.topics.changed:
                service.topics.records.clear()
                service.topics.changed.notify_all()
            with pytest.raises(EOFError):
                await stream.next()
        await until(lambda: is_healthy(service))
        assert (await service.problem(URL, Last_Event_ID=last))["status"] == 400
        async with service.stream() as stream:
            service.publish(received(0))
            assert versions(await stream.changes(1)) == [1]

    run(test)


def test_an_event_on_which_our_code_fails_is_not_told_and_the_rest_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fold(row: None, event: Event) -> dict[str, Any]:
        return {"version": 1 / (event.version - 1)}

    monkeypatch.setattr(stock_view, "fold", fold)

    async def test(service: Service) -> None:
        async with service.stream() as stream:
            service.publish(received(0), received(1))
            assert versions(await stream.changes(1)) == [1.0]

    run(test)
    assert "ZeroDivisionError" in caplog.text


def test_a_stream_says_what_it_is_before_it_is_opened() -> None:
    async def test(service: Service) -> None:
        async with service.http.head(service.url + URL) as answer:
            assert (answer.status, answer.content_type) == (200, "text/event-stream")
            assert answer.headers["X-Accel-Buffering"] == "no"

    run(test)


def change(offset: int, sku: str = "sku") -> Change:
    return Change(0, offset, lambda: changes.Told(sku, b"{}"))


def test_what_nobody_asks_for_is_not_made_and_what_can_not_be_made_is_told_later() -> None:
    told, heard, is_away = told_channel(0), Heard(), iter([True, False])

    def make() -> changes.Told:
        if next(is_away):
            raise OSError("the registry is away")
        return changes.Told("sku", b"{}")

    told.tell([change(0), Change(0, 1, lambda: pytest.fail("nobody listens"))])
    told.join(heard, None)
    with pytest.raises(OSError, match="away"):
        told.tell([Change(0, 2, make)])
    assert told.ends == (2,)
    told.tell([Change(0, 2, make)])
    assert [piece.count(b"data: ") for piece in heard.pieces] == [1]


def told_channel(count: int) -> channel.Channel:
    """One that has told of so many stock items, in one partition."""
    kind = channel.Channel(STOCK_KIND)
    kind.begin((0,), (0,))
    kind.tell([change(number, f"sku-{number % 11}") for number in range(count)])
    return kind


def test_to_find_what_one_has_missed_costs_a_few_looks_however_much_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    told = told_channel(5_000)
    looks = 0
    covers = channel._covers  # noqa: SLF001

    def count(positions: Sequence[int], others: Sequence[int]) -> bool:
        nonlocal looks
        looks += 1
        return covers(positions, others)

    monkeypatch.setattr(channel, "_covers", count)
    found = told.since((100,), 500)
    assert found is not None
    assert [change.offset for change in found] == list(range(100, 600))
    assert looks < 20


def test_the_loop_goes_round_after_each_piece_of_what_was_missed_however_many_catch_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topics = MemoryTopics()
    for number in range(140):
        topics.publish(stock.TOPIC, received(number))
    monkeypatch.setattr(house, "_PIECE", 7)
    rounds = 0
    made_in: list[int] = []

    def frames(told: Sequence[Change], keys: frozenset[str] | None, positions: list[int]) -> bytes:
        made_in.append(rounds)
        return changes.frames(told, keys, positions)

    async def count_rounds() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    async def catch_up(service: Service, query: str) -> None:
        async with service.stream(URL + query, last_id="0-0-0-0") as stream:
            assert by_sku(await stream.changes(140 if query == "" else 13))["sku-3"] == list(range(4, 141, 11))

    async def test(service: Service) -> None:
        counting = asyncio.create_task(count_rounds())
        await asyncio.gather(*(catch_up(service, query) for query in ("", "?sku=sku-3") for _ in range(20)))
        counting.cancel()

    monkeypatch.setattr(house, "frames", frames)
    run(test, topics)
    assert len(made_in) > 200
    assert len({*made_in}) == len(made_in)


def test_one_who_is_too_slow_while_it_catches_up_is_sent_away_with_all_that_it_has_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(house, "_PIECE_S", 0.5)
    topics = MemoryTopics()
    for number in range(8_000):
        topics.publish(stock.TOPIC, received(number))

    async def main() -> None:
        async with serving(topics) as (service, runner):
            host, port = service.url.removeprefix("http://").split(":")
            with socket.socket() as slow:
                slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                slow.setblocking(False)  # noqa: FBT003  # as Python has it
                loop = asyncio.get_running_loop()
                await loop.sock_connect(slow, (host, int(port)))
                asked = f"GET {URL} HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 0-0-0-0\r\n\r\n"
                await loop.sock_sendall(slow, asked.encode())

                stuck: list[asyncio.Transport] = []

                async def is_stuck() -> bool:
                    server = runner.server
                    assert server
                    there = [each.transport for each in server.connections if each.transport]
                    stuck.extend(one for one in there if one.get_write_buffer_size() > house.BUFFER_BYTES)
                    return bool(stuck)

                async def is_gone() -> bool:
                    return not stuck[0].get_write_buffer_size()

                await until(is_stuck)
                await until(is_gone, 5)

    asyncio.run(main())


def test_while_it_is_found_out_where_a_topic_that_has_gone_back_is_nobody_is_let_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, may_answer = threading.Event(), threading.Event()
    may_answer.set()

    class Slow(MemorySource):
        def bounds(self, topic: str, partitions: int) -> list[Bounds]:
            asked.set()
            assert may_answer.wait(PATIENCE_S)
            return super().bounds(topic, partitions)

    topics = MemoryTopics()
    monkeypatch.setattr(topics, "source", lambda: Slow(topics))

    async def test(service: Service) -> None:
        async with service.stream() as stream:
            service.publish(*map(received, range(60)))
            await stream.changes(60)
            asked.clear()
            may_answer.clear()
            with topics.changed:
                topics.records.clear()
                service.publish(*map(received, range(11)))
            await asyncio.to_thread(asked.wait)
            try:
                assert (await service.problem(URL))["status"] == 503
            finally:
                may_answer.set()
            with pytest.raises(EOFError):
                await stream.next()
        await until(lambda: is_healthy(service))
        async with service.stream() as stream:
            service.publish(received(70))
            assert versions(await stream.changes(1)) == [71]

    run(test, topics)


def test_one_who_waits_for_what_was_missed_is_shown_that_somebody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(channel, "RECENT", 4)
    topics = MemoryTopics()
    for number in range(40):
        topics.publish(stock.TOPIC, received(number))

    async def never(*_: object) -> list[Change]:
        await asyncio.Event().wait()
        return []

    async def test(service: Service) -> None:
        headers = {"Last-Event-ID": "0-0-0-0"}
        async with service.http.get(service.url + URL, headers=headers) as response:
            lines = [await asyncio.wait_for(response.content.readline(), PATIENCE_S) for _ in range(7)]
        assert lines[3:] == [b": still here\n", b"\n", b": still here\n", b"\n"]

    monkeypatch.setattr(History, "read", never)
    run(test, topics)


def test_when_telling_of_one_topic_fails_the_others_are_not_told_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    tell = channel.Channel.tell
    failures = 1

    def fail_once(self: channel.Channel, told: Sequence[Change]) -> None:
        nonlocal failures
        if self.kind is ORDERS_KIND and failures:
            failures -= 1
            raise ZeroDivisionError
        tell(self, told)

    monkeypatch.setattr(channel.Channel, "tell", fail_once)
    read_again: list[int] = []
    seek = MemorySource.seek

    def note(self: MemorySource, positions: Mapping[Place, int]) -> None:
        read_again.append(sum(at for place, at in positions.items() if place.topic == stock.TOPIC))
        seek(self, positions)

    monkeypatch.setattr(MemorySource, "seek", note)

    async def test(service: Service) -> None:
        async with service.stream() as stream, service.stream(ORDERS) as orders:
            with service.topics.changed:  # both at once
                service.publish(received(0))
                [placed, *_] = life("marea.order")
                service.topics.publish(order.TOPIC, placed._replace(data=placed.data | {"customer_id": "ada"}))
            assert versions(await orders.changes(1)) == [1]
            service.publish(received(1))
            assert versions(await stream.changes(2)) == [1, 2]
        assert read_again == [0, 1]

    run(test)


class Heard:
    """A listener that keeps what it is sent, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.pieces: list[bytes] = []
        self.fails, self.is_away = fails, False

    def send(self, piece: bytes) -> None:
        if self.fails:
            raise ZeroDivisionError
        self.pieces.append(piece)

    def send_away(self) -> None:
        self.is_away = True


def test_what_a_channel_has_told_it_does_not_tell_again() -> None:
    told, heard = told_channel(5), Heard()
    told.join(heard, None)
    told.tell([change(number) for number in (3, 4, 5)])
    assert [piece.count(b"data: ") for piece in heard.pieces] == [1]
    assert told.ends == (6,)


def test_a_listener_that_can_not_be_told_is_sent_away_and_the_others_are_told(caplog: pytest.LogCaptureFixture) -> None:
    told, listeners = told_channel(0), [Heard(fails=number == 1) for number in range(3)]
    for listener in listeners:
        told.join(listener, None)
    told.tell([change(0)])
    assert [(len(each.pieces), each.is_away) for each in listeners] == [(1, False), (0, True), (1, False)]
    assert "ZeroDivisionError" in caplog.text


def test_the_service_is_not_healthy_again_before_the_broker_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    sources: list[MemorySource] = []
    topics = MemoryTopics()
    open_source = topics.source

    def source() -> MemorySource:
        sources.append(open_source())
        sources[-1].is_heard = len(sources) == 1
        return sources[-1]

    monkeypatch.setattr(topics, "source", source)

    async def test(service: Service) -> None:
        async def is_opened_anew() -> bool:
            return len(sources) > 1

        topics.is_down = True
        await until(is_opened_anew)
        reads = asyncio.Event()
        loop = asyncio.get_running_loop()
        read = MemorySource.read
        count = 0

        def counted(self: MemorySource, wait_s: float) -> list[tuple[Place, Record]]:
            nonlocal count
            found = read(self, wait_s)
            count += 1
            if count == 3:
                loop.call_soon_threadsafe(reads.set)
            return found

        monkeypatch.setattr(MemorySource, "read", counted)
        topics.is_down = False
        await asyncio.wait_for(reads.wait(), PATIENCE_S)
        assert not await is_healthy(service)
        for each in sources:
            each.is_heard = True
        await until(lambda: is_healthy(service))

    run(test, topics)


def test_a_reader_whose_broker_is_away_has_not_heard_of_it() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        with closing(Reader(f"127.0.0.1:{nobody.getsockname()[1]}")) as reader:
            reader.seek({Place(stock.TOPIC, 0): 0})
            assert reader.read(0.01) == []
            assert not reader.is_heard
