"""`marea bench deadlines`: how long after a deadline falls due its command is committed. Takes about a minute.

The relay is stopped, so that no order is answered, and real orders are placed; then their deadlines are moved so that
they pass one after the other. Somebody who looks every few milliseconds sees a deadline go once its command is committed.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import Any

import psycopg2
from psycopg2.extensions import cursor as Cursor

from bench import cpu
from bench.measures import PATIENCE_S, Measures, Windows, say
from bench.target import Target
from demo.placing import percentile
from local.layout import ROOT

#: Deadlines that pass a second, and for how many seconds.
DUE_PER_S = 200
SECONDS, SECONDS_QUICK = 20, 3
#: Time until the first one passes, and seconds between two looks.
_AHEAD, _LOOK_S = timedelta(seconds=2), 0.002

_MOVE = """
UPDATE orders.deadline SET due_at = new.at, try_at = new.at
FROM unnest(%s::text[], %s::timestamptz[]) AS new (id, at) WHERE aggregate_id = new.id
"""
_OVERDUE = "SELECT now(), coalesce(array_agg(aggregate_id), '{}') FROM orders.deadline WHERE try_at <= now()"
_CANCELLED = "SELECT count(*) FROM orders.orders WHERE id = ANY(%s::uuid[]) AND status = 'cancelled'"


class NotCarriedOut(Exception):
    """Not every deadline became a command."""


def measure(port: int, *, quick: bool = False) -> dict[str, Any]:
    """Measures on a stack that is emptied before and afterwards. The result is as docs/benchmarks.md says.

    Raises NotCarriedOut, and what the stack or the load raises.
    """
    target = Target(ROOT, port)
    with target.running():
        measures = Measures(target, Windows())
        target.stop("connect")
        orders = measures.place("two_lines", (SECONDS_QUICK if quick else SECONDS) * DUE_PER_S)
        meter = cpu.Meter(target.roots())
        with closing(psycopg2.connect(target.database_url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            late_ms = _carried_out(cursor, orders)
        used_ms = meter.used_ms()
    return {
        "due_per_s": DUE_PER_S,
        "deadlines": len(late_ms),
        "due_to_committed_ms": {"p50": percentile(late_ms, 0.5), "p99": percentile(late_ms, 0.99)},
        "cpu_ms_per_command": cpu.per(used_ms, len(late_ms)),
    }


def _carried_out(cursor: Cursor, orders: Sequence[str]) -> list[float]:
    """Lets the orders' deadlines pass, and gives how many milliseconds late each became a command."""
    begin = datetime.now(UTC) + _AHEAD
    due = {order: begin + number * timedelta(seconds=1 / DUE_PER_S) for number, order in enumerate(orders)}
    cursor.execute(_MOVE, (list(due), list(due.values())))
    late_ms = _watched(cursor, due)
    cursor.execute(_CANCELLED, (list(orders),))
    if (found := cursor.fetchone()) != (len(orders),):
        raise NotCarriedOut(f"of {len(orders)} orders, {found} were cancelled")
    say(f"{len(late_ms)} deadlines, {DUE_PER_S}/s: p50 {percentile(late_ms, 0.5)} ms, p99 {percentile(late_ms, 0.99)} ms")
    return late_ms


def _watched(cursor: Cursor, due: Mapping[str, datetime]) -> list[float]:
    until = monotonic() + PATIENCE_S
    coming = deque(due.items())
    passed: dict[str, datetime] = {}
    late_ms: list[float] = []
    while coming or passed:
        if monotonic() > until:
            raise NotCarriedOut(f"{len(coming) + len(passed)} deadlines are left after {PATIENCE_S:.0f} s")
        cursor.execute(_OVERDUE)
        [now, overdue] = cursor.fetchone()
        while coming and coming[0][1] <= now:
            passed.update([coming.popleft()])
        gone = passed.keys() - {*overdue}
        late_ms += [(now - passed.pop(each)).total_seconds() * 1_000 for each in gone]
        sleep(_LOOK_S)
    return late_ms
