"""`marea bench path`: how fast the path is, on this checkout's stack as shipped. Takes about fifteen minutes."""

import os
import sys
from subprocess import PIPE, Popen
from threading import Timer
from typing import Any

from bench import machine
from bench.measures import PATIENCE_S, Measures, Windows, say
from bench.target import Target
from local.layout import ROOT

QUICK = Windows(
    java_s=5.0,
    accept_s=3.0,
    saga_s=5.0,
    completed_orders=100,
    rates_per_s=(50, 200),
    freshness_s=3.0,
    drain_events=0,
    rebuild_events=5_000,
)
#: Events that plain Faust folds.
_FAUST_EVENTS, _FAUST_EVENTS_QUICK = 100_000, 4_000


def measure(port: int, *, quick: bool = False) -> dict[str, Any]:
    """Measures everything, on a stack that is emptied before and afterwards. The result is as docs/benchmarks.md says.

    Raises what the stack, the load or a rebuild raises.
    """
    target = Target(ROOT, port)
    windows, faust_events = (QUICK, _FAUST_EVENTS_QUICK) if quick else (Windows(), _FAUST_EVENTS)
    before = machine.measure()
    with target.running() as ready_s:
        say(f"ready after {ready_s:.1f} s")
        measured = _measure(target, windows, faust_events)
    return {**measured, "ready_s": round(ready_s, 1), "machine": machine.summary(before, machine.measure())}


def _measure(target: Target, windows: Windows, faust_events: int) -> dict[str, Any]:
    measures = Measures(target, windows)
    measures.warm_java()
    stock = {shape: measures.stock_part(shape) for shape in measures.shapes}
    full = measures.saga("two_lines")
    again, full_again = measures.stock_part("two_lines"), measures.saga("two_lines")
    completed = measures.completed()
    accepted = {shape: measures.accept(shape) for shape in measures.shapes}
    freshness = {str(rate): measures.freshness(rate) for rate in windows.rates_per_s}
    memory = {name: each["memory_bytes"] for name, each in target.programs().items()}
    drained = measures.drain() if windows.drain_events else None
    measures.fill()
    return {
        "accept_per_s": accepted,
        "freshness_ms": freshness,
        "saga_per_s": {
            shape: {"per_s": each.per_s, "backlog_end": each.backlog_end} for shape, each in stock.items()
        },
        "cpu_ms_per_order": stock["two_lines"].cpu_ms_per_order,
        "full_saga_per_s": {
            "two_lines": {
                "per_s": [full.per_s, full_again.per_s],
                "stock_part_per_s": [stock["two_lines"].per_s, again.per_s],
                "share": round((full.per_s + full_again.per_s) / (stock["two_lines"].per_s + again.per_s), 3),
                "backlog_end": full_again.backlog_end,
            }
        },
        "full_cpu_ms_per_order": full_again.cpu_ms_per_order,
        "completed_per_s": completed.per_s,
        "completed_cpu_ms_per_order": completed.cpu_ms_per_order,
        "cdc_drain_per_s": drained,
        "rebuild_per_s": {"one_worker": measures.rebuild(1), "two_workers": measures.rebuild(2)},
        "plain_faust_per_s": plain_faust(target, faust_events),
        "rss_bytes": memory,
    }


def plain_faust(target: Target, events: int) -> float:
    """Events a second of bench/plain_faust.py. Raises RuntimeError when it ends without a figure."""
    folder = target.folder / "data" / "plain-faust"  # it keeps nothing there
    command = [sys.executable, "-m", "faust", "-A", "bench.plain_faust", "--datadir", str(folder)]
    command += ["worker", "-l", "warn", "--without-web"]
    environment = {
        **os.environ,
        "MAREA_KAFKA": target.kafka,
        "MAREA_REGISTRY_URL": target.registry_url,
        "PLAIN_FAUST_EVENTS": str(events),
    }
    with Popen(command, stdout=PIPE, text=True, env=environment) as worker:
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
