"""`marea bench consumers`: what one more view costs, on the path as shipped. See docs/benchmarks.md.

The stack's own workers are stopped, and as many start in their place, with their settings, whose app has more views.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import fmean
from typing import Any, NamedTuple

from redis import Redis

from api.services import views
from bench import machine
from bench.cpu import LOAD, TOTAL, WORKERS
from bench.measures import EVENTS_PER_ORDER, Measures, Saga, Windows, say
from bench.more_views import more as more_views
from bench.rows import count
from bench.target import Target
from local.layout import ROOT
from local.stack import tail

WINDOWS = Windows(java_s=30.0, saga_s=30.0)
QUICK = Windows(java_s=3.0, saga_s=5.0)
#: Seconds that a worker gets to stop.
_STOP_S = 30.0
#: Lines of a worker's log that an error shows.
_LOG_LINES = 20


class NotConsumed(Exception):
    """A worker with more views ended, or a view that was added has not folded all orders."""


class More(NamedTuple):
    """How many views there are beside the shipped ones: `folding` every event of orders, or `ignoring` all of them."""

    folding: int = 0
    ignoring: int = 0


#: The shipped views alone come first and last: the machine's speed changes.
STEPS = (More(), More(folding=10), More(folding=20), More(folding=40), More(ignoring=40), More())
QUICK_STEPS = (More(), More(folding=5), More(ignoring=5))


def measure(port: int, *, quick: bool = False) -> dict[str, Any]:
    """The saga with each number of views, and CPU time a view and event. Raises what a stack or the load raises."""
    before = machine.measure()
    windows, steps = (QUICK, QUICK_STEPS) if quick else (WINDOWS, STEPS)
    sagas = [(more, _saga(Target(ROOT, port), windows, more)) for more in steps]
    return {**summary(sagas), "machine": machine.summary(before, machine.measure())}


def summary(sagas: Sequence[tuple[More, Saga]]) -> dict[str, Any]:
    """Orders a second by number of views; microseconds of CPU, of the stack without the load, a view and event.

    They are compared with the mean of all sagas without more views.
    """
    alone = [saga for more, saga in sagas if more == More()]
    alone_ms = fmean(map(stack_ms, alone))
    per_s = {"0": round(fmean(saga.per_s for saga in alone), 1)}
    cost_us: dict[str, dict[str, float]] = {"folded": {}, "ignored": {}}
    for more, saga in sagas:
        if more != More():
            kind, views = ("folded", more.folding) if more.folding else ("ignored", more.ignoring)
            per_s[f"{views}_{kind}"] = saga.per_s
            extra_us = (stack_ms(saga) - alone_ms) * 1_000
            cost_us[kind][str(views)] = round(extra_us / views / EVENTS_PER_ORDER, 2)
    return {
        "orders_per_s": per_s,
        "folded_event_us": cost_us["folded"],
        "ignored_event_us": cost_us["ignored"],
    }


def stack_ms(saga: Saga) -> float:
    """CPU time an order, without that of the load."""
    return saga.cpu_ms_per_order[TOTAL] - saga.cpu_ms_per_order[LOAD]


def _saga(target: Target, windows: Windows, more: More) -> Saga:
    with target.running(), ExitStack() as workers:
        names = [name for name in target.programs() if name.startswith("worker")]
        pids = [workers.enter_context(_in_place_of(target, name, more)) for name in names]
        say(f"{len(names)} workers with {more.folding} more folding and {more.ignoring} more ignoring views")
        measures = Measures(target, windows, dict.fromkeys(pids, WORKERS))
        measures.warm_java()
        saga = measures.saga("two_lines")
        measures.await_quiet()
        _check(target, measures.partitions, more)
        return saga


def _check(target: Target, partitions: int, more: More) -> None:
    """Raises NotConsumed unless every folding view has all orders: else its cost was not in what was measured."""
    with Redis.from_url(target.redis_url) as redis:
        orders = count(redis, "order", partitions)
        for view in more_views(views()["order"], more.folding, 0):
            if (found := count(redis, view.name, partitions)) != orders:
                raise NotConsumed(
                    f"{view.name} has {found} rows, and order {orders}: see {target.folder}/logs"
                )


@contextmanager
def _in_place_of(target: Target, name: str, more: More) -> Iterator[int]:
    """A worker with more views instead of a program of the stack, and with that one's settings; gives its process id."""
    environment = target.environment(name) | {
        "MORE_FOLDING": str(more.folding),
        "MORE_IGNORING": str(more.ignoring),
    }
    target.stop(name)
    command = [
        sys.executable,
        "-m",
        "faust",
        "-A",
        "bench.more_app",
        "worker",
        "-l",
        "warn",
        "--without-web",
    ]
    log = target.folder / "logs" / f"bench-{name}.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(command, env=environment, cwd=target.folder, stdout=output, stderr=output)
    try:
        yield worker.pid
    finally:
        ended = worker.poll()
        worker.terminate()
        try:
            worker.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        if ended is not None:
            raise NotConsumed(
                f"{name} with more views ended with exit status {ended}:\n{tail(log, _LOG_LINES)}"
            )
