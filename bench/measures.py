"""The single measurements, each on a stack that is up: every one of them leaves no order waiting.

All products have stock without end, so that every order can be confirmed. Everything, this load included, shares
the machine.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count, islice
from math import ceil
from time import monotonic, sleep
from typing import NamedTuple

import orjson
import psycopg2

from bench import cpu, quiet
from bench.backlog import CONFIRMED, RESERVED, Backlog, Outcome
from bench.quiet import topic_ends
from bench.shapes import contents, repeated, until
from bench.target import Target
from demo.baskets import Baskets
from demo.client import Client
from demo.freshness import Freshness
from demo.load import AT_ONCE, receive, stock_up
from demo.placing import (
    CARD,
    OnAccepted,
    Order,
    Pace,
    Tally,
    at_once,
    await_final,
    percentile,
    place,
    steadily,
)
from demo.staff import Staff
from kernel.kafka import admin_client
from ops.progress import errors
from streams.engine.reader import Views

#: Baskets whose orders are placed again and again, and units of each of their products.
BASKETS, UNITS = 5_000, 1_000_000_000
#: What a confirmed order adds to the orders' topic: that it was placed, reserved and confirmed.
EVENTS_PER_ORDER = 3
#: Seconds for which orders are placed before a window opens.
WARM_UP_S = 3.0
#: Seconds that anything may take to become quiet.
PATIENCE_S = 180.0
_LOOK_S = 0.2
_EXPIRE = "UPDATE orders.deadline SET due_at = now(), try_at = now() WHERE name = 'pay_by'"


@dataclass(frozen=True)
class Windows:
    """How long, or how much, each measurement takes."""

    #: Seconds of orders before anything is measured: Java compiles what it runs often, and takes both cores for it.
    java_s: float = 60.0
    accept_s: float = 20.0
    saga_s: float = 60.0
    #: Orders that are packed, sent and delivered.
    completed_orders: int = 1_000
    rates_per_s: tuple[int, ...] = (50, 200, 500)
    freshness_s: float = 20.0
    #: Events written while Connect is stopped; without any, draining is not measured.
    drain_events: int = 200_000
    #: Events of orders that there have to be for a rebuild.
    rebuild_events: int = 200_000


class Saga(NamedTuple):
    """Orders settled a second, orders that waited at the end, and CPU time an order by component."""

    per_s: float
    backlog_end: int
    cpu_ms_per_order: dict[str, float]


class Measures:
    """Measurements of one stack, which is up and empty when this is made; its products are then stocked.

    `more_roots` are components of processes that are not the supervisor's, by process id.
    """

    def __init__(self, target: Target, windows: Windows, more_roots: Mapping[int, str] | None = None) -> None:
        self._target, self._windows, self._more_roots = target, windows, more_roots or {}
        self._kafka = admin_client(target.kafka)
        self.partitions = len(topic_ends(self._kafka, "marea.order"))
        self._views = Views(target.redis_url, self.partitions)
        self._runs = count()
        baskets = Baskets(BASKETS)
        self._skus = [product.sku for product in baskets.products]
        self._contents = contents(baskets, BASKETS)
        asyncio.run(stock_up(target.api_url, self._views, baskets.products, UNITS))
        self.await_quiet()

    @property
    def shapes(self) -> list[str]:
        """The names of the shapes of orders."""
        return list(self._contents)

    def warm_java(self) -> None:
        """Places orders until Java has compiled what it runs often."""
        with Backlog(self._target.database_url, CONFIRMED) as backlog:
            self.await_outcome(self._place("two_lines", self._windows.java_s, backlog.pace))

    def order_events(self) -> int:
        """Events in the orders' topic."""
        return sum(topic_ends(self._kafka, "marea.order").values())

    def fill(self) -> None:
        """Places orders until there are as many events as a rebuild needs, and no more than that by this."""
        missing = max(0, self._windows.rebuild_events - self.order_events())
        orders = islice(self._orders("two_lines"), ceil(missing / EVENTS_PER_ORDER))
        with Backlog(self._target.database_url, CONFIRMED) as backlog:
            self.await_outcome(self._place_all(orders, backlog.pace))
        self.await_quiet()

    def accept(self, shape: str) -> float:
        """Orders accepted a second over HTTP by clients without pause, relay and workers running."""
        warm = self._place(shape, WARM_UP_S)
        started = monotonic()
        tally = self._place(shape, self._windows.accept_s)
        per_s = len(tally.accepted) / (monotonic() - started)
        say(f"accepted, {shape}: {per_s:.0f}/s ({milliseconds(tally)})")
        self.await_outcome(warm)
        self.await_outcome(tally)
        return round(per_s, 1)

    def place(self, shape: str, orders: int) -> list[str]:
        """Places so many orders, and gives their ids. Nobody waits for what becomes of them."""
        return self._place_all(islice(self._orders(shape), orders), at_once).accepted

    def saga(self, shape: str) -> Saga:
        """Orders confirmed while as many are offered as keep some waiting: what the whole path carries, payment included."""
        found, tallies = self._saga(shape, CARD, CONFIRMED)
        for tally in tallies:
            self.await_outcome(tally)
        return found

    def stock_part(self, shape: str) -> Saga:
        """As `saga`, of orders without a card, until their stock is reserved; then their time is over."""
        found, tallies = self._saga(shape, None, RESERVED)
        with closing(psycopg2.connect(self._target.database_url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(_EXPIRE)
        for tally in tallies:
            await_final(self._views, tally.accepted)
        self.await_quiet()
        return found

    def completed(self) -> Saga:
        """Orders that are confirmed, from when staff begins to pack them until they are at the door."""
        tally = self._place_all(islice(self._orders("two_lines"), self._windows.completed_orders), at_once)
        self.await_outcome(tally)
        self.await_quiet()
        started, meter = monotonic(), cpu.Meter({**self._target.roots(), **self._more_roots})
        asyncio.run(self._deliver(tally.accepted))
        took_s, used_ms = monotonic() - started, meter.used_ms()
        orders = len(tally.accepted)
        found = Saga(round(orders / took_s, 1), 0, cpu.per(used_ms, orders))
        say(f"completed: {found.per_s:.0f}/s, {found.cpu_ms_per_order[cpu.TOTAL]:.2f} ms of CPU an order")
        self.await_quiet()
        return found

    async def _deliver(self, order_ids: Sequence[str]) -> None:
        """Raises TimeoutError."""
        staff = Staff(self._target.api_url, self._target.operator_key, self._views)
        staff.take(order_ids)
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            working = group.create_task(staff.work())
            open_ = {*order_ids}
            while open_:
                rows = zip(open_, self._views.many("order", [*open_]), strict=True)
                completed = {order_id for order_id, row in rows if row and orjson.loads(row)["status"] == "completed"}
                staff.leave(completed)
                open_ -= completed
                await asyncio.sleep(_LOOK_S)
            working.cancel()

    def _saga(self, shape: str, card: str | None, outcome: Outcome) -> tuple[Saga, Sequence[Tally]]:
        roots = {**self._target.roots(), **self._more_roots}
        with Backlog(self._target.database_url, outcome) as backlog:
            warm = self._place(shape, WARM_UP_S, backlog.pace, card=card)
            settled, started, meter = backlog.settled(), monotonic(), cpu.Meter(roots)
            tally = self._place(shape, self._windows.saga_s, backlog.pace, card=card)
            took_s, used_ms = monotonic() - started, meter.used_ms()
            orders, waiting = backlog.settled() - settled, backlog.waiting()
        found = Saga(round(orders / took_s, 1), waiting, cpu.per(used_ms, orders))
        total_ms = found.cpu_ms_per_order[cpu.TOTAL]
        say(
            f"saga, {shape}, {card or 'without a card'}: {found.per_s:.0f}/s, {total_ms:.2f} ms of CPU an order,"
            f" {waiting} waiting at the end"
        )
        return found, (warm, tally)

    def freshness(self, rate_per_s: float) -> dict[str, float | None]:
        """From commit to view at a steady rate, in milliseconds: see demo/freshness.py."""
        self.await_quiet()
        with Freshness(self._target.redis_url, self.partitions) as freshness:
            tally = self._place("two_lines", self._windows.freshness_s, steadily(rate_per_s), freshness.offer)
            seen_ms = freshness.finish(PATIENCE_S)
        self.await_outcome(tally)
        found = {"p50": percentile(seen_ms, 0.5), "p99": percentile(seen_ms, 0.99)}
        say(f"freshness at {rate_per_s}/s: {found}, of {len(seen_ms)} orders")
        return found

    def steady(self, per_minute: float, seconds: float) -> int:
        """Orders placed at this pace, which are all confirmed; how many. Nobody waits for quiet before or after."""
        tally = self._place("two_lines", seconds, steadily(per_minute / 60))
        self.await_outcome(tally)
        return len(tally.accepted)

    def drain(self) -> float:
        """Events a second that reach Kafka, of those that were written while Connect was stopped; workers running."""
        events = self._windows.drain_events
        self.await_quiet()
        self._target.stop("connect")
        asyncio.run(self._receive(events))
        before = self._stock_events()
        self._target.start("connect")
        first_at, first = await_more(self._stock_events, before)
        last_at, last = await_more(self._stock_events, before + events - 1)
        per_s = (last - first) / (last_at - first_at)
        say(f"drained: {per_s:.0f}/s")
        self.await_quiet()
        return round(per_s, 1)

    def rebuild(self, workers: int) -> float:
        """Events a second of a rebuild of the `order` view. Raises ValueError when it was not identical."""
        rebuilt = self._target.rebuild("order", workers)
        if not rebuilt["identical"]:
            raise ValueError(f"the rebuilt view is not the live one: {rebuilt}")
        per_s = float(rebuilt["events_per_s"])
        say(f"rebuilt with {workers}: {rebuilt['events']} events, {per_s:.0f}/s")
        return round(per_s, 1)

    def await_outcome(self, tally: Tally) -> None:
        """Until all of these orders are confirmed. Raises ValueError when one ends otherwise."""
        statuses = await_final(self._views, tally.accepted)
        if statuses.total() != statuses["confirmed"]:
            raise ValueError(f"not all orders were confirmed: {dict(statuses)}")

    def await_quiet(self) -> None:
        """Until relay and consumers have done all that there is to do. Raises TimeoutError."""
        quiet.await_quiet(self._target.database_url, self._target.kafka, PATIENCE_S)

    def _place(
        self,
        shape: str,
        seconds: float,
        pace: Pace = at_once,
        on_accepted: OnAccepted = lambda order_id, placed_at: None,
        card: str | None = CARD,
    ) -> Tally:
        return self._place_all(until(monotonic() + seconds, self._orders(shape, card)), pace, on_accepted)

    def _orders(self, shape: str, card: str | None = CARD) -> Iterator[Order]:
        return repeated(self._contents[shape], f"bench-{next(self._runs)}", card)

    def _place_all(
        self,
        orders: Iterator[Order],
        pace: Pace,
        on_accepted: OnAccepted = lambda order_id, placed_at: None,
    ) -> Tally:
        tally = Tally()
        asyncio.run(place(self._target.api_url, orders, tally, pace, on_accepted))
        if tally.refused:
            raise ValueError(f"orders were refused: {dict(tally.refused)}")
        return tally

    async def _receive(self, events: int) -> None:
        async with Client(self._target.api_url) as client:
            for start in range(0, events, AT_ONCE):
                skus = [self._skus[number % len(self._skus)] for number in range(start, start + AT_ONCE)]
                await receive(client, skus, 1)

    def _stock_events(self) -> int:
        return sum(topic_ends(self._kafka, "marea.stock").values())


def await_more(read: Callable[[], int], than: int) -> tuple[float, int]:
    """When `read` gives more, and how much. Raises TimeoutError."""
    deadline = monotonic() + PATIENCE_S
    while (found := read()) <= than:
        if monotonic() > deadline:
            raise TimeoutError(f"{found} after {PATIENCE_S:.0f} s, and not more than {than}")
        sleep(0.01)
    return monotonic(), found


def milliseconds(tally: Tally) -> str:
    """HTTP times for people."""
    http_ms = [second * 1_000 for second in tally.http_s]
    return f"HTTP p50 {percentile(http_ms, 0.5)} ms, p99 {percentile(http_ms, 0.99)} ms"


def say(text: str) -> None:
    """A figure as soon as it is known, on standard error."""
    errors.print(text, markup=False, highlight=False, soft_wrap=True)
