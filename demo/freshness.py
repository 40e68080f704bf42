"""How long an order takes from its commit to being readable in the `order` view, measured from outside.

The clock starts at the order's `placed_at`, which its service reads just before the statement that commits it,
so the figure includes that statement and its commit. It ends when a process of its own, which looks about every
millisecond, finds the row in Redis. That process hears of an order when the HTTP answer has arrived: a view that
is faster than the answer is measured no faster than the answer.
"""

import multiprocessing
import signal
from collections.abc import Sequence
from datetime import datetime
from multiprocessing.connection import Connection
from time import monotonic, sleep, time
from typing import NamedTuple, Self

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from streams.engine.reader import Views

#: Seconds between two looks at orders that are not there yet; more for late ones, by this part of their age.
LOOK_S, LOOK_PART = 0.001, 0.05
#: Orders a second that are watched; the others are not looked for.
SAMPLES_PER_S = 20


class Sample(NamedTuple):
    """One order that was watched: `placed_at` in seconds since 1970."""

    order_id: str
    placed_at: float


class Freshness:
    """Watches some of the orders that it is told of. Close it, or use it in a `with`."""

    def __init__(self, redis_url: str, partitions: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_watch, args=(theirs, redis_url, partitions), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()  # it looks from now on: what it needed to start is not the view's doing
        self._since = time()
        self._next = 0.0
        self._watched = 0
        self._seen_ms: list[float] = []

    def offer(self, order_id: str, placed_at: str) -> None:
        """Says that an order was just accepted. Cheap, and all there is to do in the load's own loop."""
        now = monotonic()
        if now < self._next:
            return
        sample = Sample(order_id, datetime.fromisoformat(placed_at).timestamp())
        if sample.placed_at < self._since:
            return  # placed long ago, and answered again
        self.seen_ms()  # or the pipe would fill up, and the watcher stand still
        self._next = now + 1 / SAMPLES_PER_S
        self._watched += 1
        self._pipe.send(sample)

    def seen_ms(self) -> list[float]:
        """Of each watched order that has become readable, how long that took, in milliseconds."""
        while self._pipe.poll():
            self._seen_ms.append(self._pipe.recv())
        return self._seen_ms

    def finish(self, timeout_s: float) -> list[float]:
        """As `seen_ms`, of every watched order. Raises TimeoutError when some are not readable in time."""
        deadline = monotonic() + timeout_s
        while len(self.seen_ms()) < self._watched:
            if not self._pipe.poll(max(0.0, deadline - monotonic())):
                missing = self._watched - len(self._seen_ms)
                raise TimeoutError(f"{missing} watched orders are not in the view after {timeout_s:.0f} s")
        return self._seen_ms

    def close(self) -> None:
        """Ends the process."""
        self._process.terminate()
        self._process.join()
        self._pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _watch(pipe: "Connection[float, Sample]", redis_url: str, partitions: int) -> None:
    # Ctrl-C reaches every process of the terminal; the one that asked for samples decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    views = Views(redis_url, partitions)
    waiting: list[Sample] = []
    pipe.send(0.0)
    while True:
        if pipe.poll(_pause_s(waiting)):
            waiting.append(pipe.recv())
        try:
            rows = views.many("order", [sample.order_id for sample in waiting])
        except (RedisConnectionError, RedisTimeoutError):
            # While Redis is away nothing is readable: the clocks of those that wait go on.
            sleep(0.05)
            continue
        now = time()
        for sample, row in zip(waiting, rows, strict=True):
            if row is not None:
                pipe.send((now - sample.placed_at) * 1_000)
        waiting = [sample for sample, row in zip(waiting, rows, strict=True) if row is None]


def _pause_s(waiting: Sequence[Sample]) -> float | None:
    """Looking must not take what the orders need: what is late is looked for less often, within 5 % of its age."""
    if not waiting:
        return None
    return max(LOOK_S, LOOK_PART * (time() - waiting[-1].placed_at))
