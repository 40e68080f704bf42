"""`marea bench path`: how fast the path is, on the stack as shipped. Takes about twelve minutes.

The stack is one of its own, emptied before. Everything, this load included, shares the machine. All products
have stock without end, so that every order can be confirmed. Before anything is measured orders are placed for
JAVA_S: Kafka and Connect compile what they run often, and take both cores for it.

accept_per_s      orders that were accepted over HTTP by 16 clients without pause, relay and workers running
freshness_ms      see demo/freshness.py
saga_per_s        orders that were confirmed or rejected over a minute, while as many were offered as keep
                  MOST_WAITING of them waiting; `backlog_end` are those that waited when the minute was over
cdc_drain_per_s   events that reached Kafka, from the first to the last of what was written while Connect was
                  stopped, with the workers running
rebuild_per_s     replay of the `order` view's topic
"""

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from random import Random
from subprocess import PIPE, Popen
from threading import Timer
from time import monotonic, process_time, sleep
from typing import Any, Self

import psycopg2

from api.services import consumers
from demo.baskets import Baskets
from demo.client import Client
from demo.freshness import Freshness
from demo.load import AT_ONCE, receive, stock_up
from demo.placing import (
    OnAccepted,
    Order,
    Pace,
    Tally,
    at_once,
    await_final,
    order,
    percentile,
    place,
    steadily,
)
from kernel import settings
from kernel.kafka import admin_client
from local.stack import Stack
from local.status import describe
from ops.barrier import Barrier, topic_ends
from ops.progress import errors
from ops.rebuild import rebuild
from streams.engine.consumer import consumer_id
from streams.engine.reader import Views

#: Baskets whose orders are placed again and again, and units of each of their products.
BASKETS, UNITS = 5_000, 1_000_000_000
JAVA_S, WARM_UP_S = 60.0, 3.0
ACCEPT_S = 20.0
RATES_PER_S, FRESHNESS_S = (50, 200, 500), 20.0
SAGA_S, MOST_WAITING = 60.0, 1_000
#: Events written while Connect is stopped.
DRAIN_EVENTS = 200_000
#: Events of orders that there have to be for a rebuild.
REBUILD_EVENTS = 200_000
#: Seconds that anything may take to become quiet.
PATIENCE_S = 180.0

#: A customer and the sku and quantity of each line.
Content = tuple[str, Sequence[tuple[str, int]]]

_SETTLED = "SELECT coalesce(sum(next_offset), 0) FROM orders.position WHERE consumer = 'orders.outcomes'"


def measure(stack: Stack) -> dict[str, Any]:
    """Measures everything. Raises what the stack, the load or a rebuild raises."""
    stack.reset()
    try:
        ready_s = stack.up()
        say(f"ready after {ready_s:.1f} s")
        return {**_Path(stack).measure(), "ready_s": round(ready_s, 1)}
    finally:
        stack.reset()


class _Path:
    """One run, on a stack that is up and empty."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._address = settings.setting("API_URL")
        self._views = Views(settings.redis_url(), settings.partitions())
        self._kafka = admin_client(settings.kafka())
        self._runs = count()
        baskets = Baskets(BASKETS)
        self._skus = [product.sku for product in baskets.products]
        self._contents: dict[str, list[Content]] = {
            "two_lines": two_lines(self._skus, BASKETS),
            "baskets": [(basket.customer_id, basket.lines) for basket in baskets.baskets()],
        }
        asyncio.run(stock_up(self._address, self._views, baskets.products, UNITS))
        self._await_quiet()

    def measure(self) -> dict[str, Any]:
        with Backlog() as backlog:
            self._await_outcome(self._place("two_lines", JAVA_S, backlog.pace))
        saga = {kind: self._saga(kind) for kind in self._contents}
        accepted = {kind: self._accept(kind) for kind in self._contents}
        freshness = {str(rate): self._freshness(rate) for rate in RATES_PER_S}
        memory = {name: each["memory_bytes"] for name, each in describe(self._stack)["programs"].items()}
        drained = self._drain()
        return {
            "accept_per_s": accepted,
            "freshness_ms": freshness,
            "saga_per_s": saga,
            "cdc_drain_per_s": drained,
            "rebuild_per_s": {"one_worker": self._rebuild(1), "two_workers": self._rebuild(2)},
            "plain_faust_per_s": plain_faust(str(self._stack.layout.data("plain-faust"))),
            "rss_bytes": memory,
        }

    def _freshness(self, rate: float) -> dict[str, float | None]:
        with Freshness(settings.redis_url(), settings.partitions()) as freshness:
            tally = self._place("two_lines", FRESHNESS_S, steadily(rate), freshness.offer)
            seen_ms = freshness.finish(PATIENCE_S)
        self._await_outcome(tally)
        found = {"p50": percentile(seen_ms, 0.5), "p99": percentile(seen_ms, 0.99)}
        say(f"freshness at {rate}/s: {found}, of {len(seen_ms)} orders")
        return found

    def _accept(self, kind: str) -> float:
        warm = self._place(kind, WARM_UP_S)
        started, worked = monotonic(), process_time()
        tally = self._place(kind, ACCEPT_S)
        per_s = len(tally.accepted) / (monotonic() - started)
        own_us = (process_time() - worked) / len(tally.accepted) * 1e6
        say(
            f"accepted, {kind}: {per_s:.0f}/s ({milliseconds(tally)}; this load itself took {own_us:.0f} µs an order)"
        )
        self._await_outcome(warm)
        self._await_outcome(tally)
        return round(per_s, 1)

    def _saga(self, kind: str) -> dict[str, float]:
        with Backlog() as backlog:
            warm = self._place(kind, WARM_UP_S, backlog.pace)
            settled, started = backlog.settled(), monotonic()
            tally = self._place(kind, SAGA_S, backlog.pace)
            per_s = (backlog.settled() - settled) / (monotonic() - started)
            waiting = backlog.waiting()
        say(f"saga, {kind}: {per_s:.0f}/s, {waiting} waiting at the end ({milliseconds(tally)})")
        self._await_outcome(warm)
        self._await_outcome(tally)
        return {"per_s": round(per_s, 1), "backlog_end": waiting}

    def _drain(self) -> float:
        self._await_quiet()
        self._stack.stop("connect")
        asyncio.run(self._receive(DRAIN_EVENTS))
        before = self._stock_events()
        self._stack.start("connect")
        first_at, first = await_more(self._stock_events, before)
        last_at, last = await_more(self._stock_events, before + DRAIN_EVENTS - 1)
        per_s = (last - first) / (last_at - first_at)
        say(f"drained: {per_s:.0f}/s")
        self._stack.wait_ready("connect")
        self._await_quiet()
        return round(per_s, 1)

    def _rebuild(self, workers: int) -> float:
        while sum(topic_ends(self._kafka, "marea.order").values()) < REBUILD_EVENTS:
            self._await_outcome(self._place("two_lines", WARM_UP_S))
        self._await_quiet()
        rebuilt = rebuild("order", workers)
        say(
            f"rebuilt with {workers}: {rebuilt.events} events, {rebuilt.events_per_s:.0f}/s, {rebuilt.identical=}"
        )
        return round(rebuilt.events_per_s, 1)

    def _place(
        self,
        kind: str,
        seconds: float,
        pace: Pace = at_once,
        on_accepted: OnAccepted = lambda order_id, placed_at: None,
    ) -> Tally:
        tally = Tally()
        orders = until(monotonic() + seconds, repeated(self._contents[kind], f"bench-{next(self._runs)}"))
        asyncio.run(place(self._address, orders, tally, pace, on_accepted))
        if tally.refused:
            raise ValueError(f"orders were refused: {dict(tally.refused)}")
        return tally

    def _await_outcome(self, tally: Tally) -> None:
        statuses = await_final(self._views, tally.accepted)
        if statuses.total() != statuses["confirmed"]:
            raise ValueError(f"not all orders were confirmed: {dict(statuses)}")

    def _await_quiet(self) -> None:
        """Until relay and consumers have done all that there is to do."""
        barrier = Barrier([consumer_id(consumer) for consumer in consumers()])
        deadline = monotonic() + PATIENCE_S
        while not barrier.is_passed():
            if monotonic() > deadline:
                raise TimeoutError(f"the stack is not quiet after {PATIENCE_S:.0f} s")
            sleep(0.2)

    async def _receive(self, events: int) -> None:
        async with Client(self._address) as client:
            for start in range(0, events, AT_ONCE):
                skus = [self._skus[number % len(self._skus)] for number in range(start, start + AT_ONCE)]
                await receive(client, skus, 1)

    def _stock_events(self) -> int:
        return sum(topic_ends(self._kafka, "marea.stock").values())


class Backlog:
    """Orders that wait for their outcome, told from the position of the reaction that writes it."""

    #: Seconds between two questions to PostgreSQL.
    LOOK_S = 0.05

    def __init__(self) -> None:
        self._connection = psycopg2.connect(settings.setting("ADMIN_DATABASE_URL"))
        self._connection.autocommit = True
        self._settled_before = self.settled()
        self._sent = 0
        self._settled = 0
        self._looked = 0.0

    def settled(self) -> int:
        """Orders that have their outcome, ever."""
        with self._connection.cursor() as cursor:
            cursor.execute(_SETTLED)
            [settled] = cursor.fetchone() or [0]
            return int(settled)

    def waiting(self) -> int:
        """Orders that wait, of those that were paced."""
        return self._sent - (self.settled() - self._settled_before)

    async def pace(self) -> None:
        """Returns when fewer than MOST_WAITING wait."""
        while self._sent - self._settled >= MOST_WAITING:
            if monotonic() - self._looked > self.LOOK_S:
                self._looked = monotonic()
                self._settled = self.settled() - self._settled_before
            else:
                await asyncio.sleep(self.LOOK_S / 5)
        self._sent += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()


def two_lines(skus: Sequence[str], orders: int) -> list[Content]:
    """Orders of two products each, the same ones in every run."""
    random = Random(2017)
    return [(f"bench-{number}", [(sku, 1) for sku in random.sample(skus, 2)]) for number in range(orders)]


def repeated(contents: Sequence[Content], name: str) -> Iterator[Order]:
    """These orders again and again, each time with another key."""
    bodies = [order("", customer_id, lines).body for customer_id, lines in contents]
    for number in count():
        yield Order(f"{name}-{number}", bodies[number % len(bodies)])


def until(deadline: float, orders: Iterator[Order]) -> Iterator[Order]:
    """The orders that are asked for before `deadline`, in seconds of time.monotonic()."""
    while monotonic() < deadline:
        yield next(orders)


def await_more(read: Callable[[], int], than: int) -> tuple[float, int]:
    """When `read` gives more, and how much. Raises TimeoutError."""
    deadline = monotonic() + PATIENCE_S
    while (found := read()) <= than:
        if monotonic() > deadline:
            raise TimeoutError(f"{found} after {PATIENCE_S:.0f} s, and not more than {than}")
        sleep(0.01)
    return monotonic(), found


def plain_faust(folder: str) -> float:
    """Events a second of bench/plain_faust.py, which keeps nothing in its folder."""
    command = [
        sys.executable,
        "-m",
        "faust",
        "-A",
        "bench.plain_faust",
        "--datadir",
        folder,
        "worker",
        "-l",
        "warn",
        "--without-web",
    ]
    with Popen(command, stdout=PIPE, text=True) as worker:
        assert worker.stdout
        patience = Timer(PATIENCE_S, worker.terminate)
        patience.start()
        try:
            # Faust may say something of its own first.
            figures = (line for line in worker.stdout if line[0].isdigit())
            figure = next(figures, None)
        finally:
            patience.cancel()
            worker.terminate()
            worker.stdout.read()  # what it says at its end
    if figure is None:
        raise RuntimeError("the plain Faust worker ended without a figure: see above")
    per_s = float(figure)
    say(f"plain Faust: {per_s:.0f}/s")
    return round(per_s, 1)


def milliseconds(tally: Tally) -> str:
    """HTTP times for people."""
    http_ms = [second * 1_000 for second in tally.http_s]
    return f"HTTP p50 {percentile(http_ms, 0.5)} ms, p99 {percentile(http_ms, 0.99)} ms"


def say(text: str) -> None:
    """A figure as soon as it is known, on standard error."""
    errors.print(text, markup=False, highlight=False, soft_wrap=True)
