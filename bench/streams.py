"""`marea bench streams`: how soon thousands who listen to stock know of a change, and what telling them costs.

The listeners are a process of their own. Takes about two minutes.
"""

import asyncio
import re
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache, partial
from http import HTTPStatus
from math import ceil
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from bench import cpu
from bench.measures import say
from bench.target import Target
from demo.client import Client
from local.layout import ROOT

LISTENERS, LISTENERS_QUICK = 2_000, 50
#: Changes a second.
RATES = (5, 20)
CHANGES, CHANGES_QUICK = 200, 10
#: Seconds that listeners may take to be there, and that the last change may take to all of them.
PATIENCE_S = 60.0
#: Connections that are opened at once.
_OPENING = 100
_STATED = re.compile(rb'"updated_at":"([^"]+)"')


class NotTold(Exception):
    """Not all listeners have heard of all changes."""


class Heard(NamedTuple):
    """How many heard of a change how late, in milliseconds; and the latest of each change."""

    delays_ms: Counter[int]
    last_ms: list[int]


def measure(port: int, *, quick: bool = False) -> dict[str, Any]:
    """Measures on a stack that is emptied before and afterwards. Raises NotTold, and what the stack raises."""
    target = Target(ROOT, port)
    listeners, changes = (LISTENERS_QUICK, CHANGES_QUICK) if quick else (LISTENERS, CHANGES)
    with target.running():
        asyncio.run(_change(target.api_url, CHANGES_QUICK, RATES[0]))  # all is warm, and has its connections
        return {
            "listeners": listeners,
            "by_rate": {str(rate): _at_rate(target, listeners, changes, rate) for rate in RATES},
            "rss_bytes": target.programs()["broadcast"]["memory_bytes"],
        }


def _at_rate(target: Target, listeners: int, changes: int, rate: int) -> dict[str, Any]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_listen, args=(target.api_url, listeners, changes, theirs), daemon=True)
    process.start()
    try:
        opened_s = _answer(ours)
        roots = {each["pid"]: name for name, each in target.programs().items() if each["pid"]}
        meter = cpu.Meter(roots)
        asyncio.run(_change(target.api_url, changes, rate))
        heard: Heard = _answer(ours)
        used_ms = meter.used_ms()
    finally:
        process.terminate()
        process.join()
    found = {
        "opened_s": round(opened_s, 1),
        "delay_ms": _percentiles(heard.delays_ms),
        "last_ms": _percentiles(Counter(heard.last_ms)),
        "cpu_us_per_delivery": {
            name: round(used_ms[name] * 1_000 / (listeners * changes), 1) for name in ("broadcast", "nginx")
        },
    }
    say(f"{listeners} listeners, {rate} changes/s: {found}")
    return found


def _answer(connection: Connection) -> Any:
    if not connection.poll(PATIENCE_S + CHANGES):
        raise NotTold("the listeners do not answer")
    said = connection.recv()
    if isinstance(said, str):
        raise NotTold(said)
    return said


def _percentiles(counted: Counter[int]) -> dict[str, int]:
    return {f"p{percent}": percentile(counted, percent) for percent in (50, 99)}


def percentile(counted: Mapping[int, int], percent: int) -> int:
    """The value that so many percent are not above."""
    left = ceil(sum(counted.values()) * percent / 100)
    for value in sorted(counted):
        left -= counted[value]
        if left <= 0:
            return value
    raise ValueError("nothing was counted")


async def _change(url: str, changes: int, rate: int) -> None:
    """So many changes of stock, at a steady rate."""
    async with Client(url) as client:
        began = time.monotonic()
        for number in range(changes):
            await asyncio.sleep(began + number / rate - time.monotonic())
            answer = await client.post("/v1/stock/watched/receipts", orjson.dumps({"quantity": 1}), {})
            if answer.status != HTTPStatus.OK:
                raise NotTold(f"a receipt was answered with {answer.status}: {answer.body!r}")


class Listener(asyncio.Protocol):
    """One stream, read with as little work as possible: the machine is the stack's, too."""

    def __init__(self, request: bytes, arrivals: "Arrivals") -> None:
        self._request, self._arrivals = request, arrivals
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks for the stream."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Hands on what is whole."""
        data = self._rest + data
        end = data.rfind(b"\n\n") + 2
        self._rest = data[end:] if end > 1 else data
        if end > 1:
            self._arrivals.hear(data[:end])

    def connection_lost(self, exc: Exception | None) -> None:
        """It should not have ended."""
        self._arrivals.fail("a stream has ended")


class Arrivals:
    """What has come, to all listeners together."""

    def __init__(self, listeners: int, changes: int) -> None:
        self._missing = listeners * changes
        self._opening = listeners
        self.delays_ms: Counter[int] = Counter()
        self.last_ms: defaultdict[float, int] = defaultdict(int)
        self.are_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.are_told: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def hear(self, data: bytes) -> None:
        """One listener has got this."""
        now = time.time()
        if data.startswith(b"HTTP/1.1 "):
            if not data.startswith(b"HTTP/1.1 200 "):
                self.fail(f"a stream was refused: {data[:300]!r}")
            self._opening -= 1
            if not self._opening and not self.are_open.done():
                self.are_open.set_result(None)
        for moment in moments(data):
            delay_ms = round((now - moment) * 1_000)
            self.delays_ms[delay_ms] += 1
            self.last_ms[moment] = max(self.last_ms[moment], delay_ms)
            self._missing -= 1
        if not self._missing and not self.are_told.done():
            self.are_told.set_result(None)

    def fail(self, why: str) -> None:
        """Who waits hears why it is in vain."""
        for each in (self.are_open, self.are_told):
            if not each.done():
                each.set_exception(NotTold(why))


@lru_cache(1_024)
def moments(data: bytes) -> list[float]:
    """When the changes happened. All listeners get the same bytes."""
    return [datetime.fromisoformat(stated.decode()).timestamp() for stated in _STATED.findall(data)]


def _listen(url: str, listeners: int, changes: int, answers: Connection) -> None:
    try:
        asyncio.run(_listen_all(url, listeners, changes, answers))
    except (NotTold, TimeoutError, OSError) as error:
        answers.send(f"{type(error).__name__}: {error}")


async def _listen_all(url: str, listeners: int, changes: int, answers: Connection) -> None:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    request = f"GET /v1/streams/stock HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    arrivals = Arrivals(listeners, changes)
    began = time.monotonic()
    for first in range(0, listeners, _OPENING):
        await asyncio.gather(
            *(
                loop.create_connection(partial(Listener, request, arrivals), parts.hostname, parts.port)
                for _ in range(min(_OPENING, listeners - first))
            )
        )
    await asyncio.wait_for(arrivals.are_open, PATIENCE_S)
    answers.send(time.monotonic() - began)
    await asyncio.wait_for(arrivals.are_told, PATIENCE_S + CHANGES)
    answers.send(Heard(arrivals.delays_ms, list(arrivals.last_ms.values())))
