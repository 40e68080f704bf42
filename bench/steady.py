"""`marea bench steady`: orders at a steady pace for some minutes: how soon each is confirmed, and what grows meanwhile."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from typing import Any

import psycopg2
from clickhouse_connect.driver.client import Client

from bench.measures import Measures, Windows, say
from bench.target import Target
from local.layout import ROOT
from streams.engine.stores.clickhouse import connect

#: Orders a minute.
PER_MINUTE = 1_000
#: Seconds until Java, and whatever else grows at first, has become what it will be.
_SETTLE_S, _SETTLE_QUICK_S = 60.0, 5.0

_TOOK = """
SELECT quantilesExact(0.5, 0.99)(dateDiff('microsecond', placed_at, occurred_at) / 1000.), count()
FROM order_changes WHERE status = 'confirmed' AND placed_at >= toDateTime64({since:Float64}, 6, 'UTC')
"""
_KEPT = """
SELECT
    (SELECT sum(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) FROM pg_replication_slots WHERE slot_type = 'logical'),
    (SELECT count(*) FROM payments.task WHERE state <> 'done'),
    (SELECT count(*) FROM payments.task WHERE state = 'done'),
    (SELECT count(*) FROM orders.deadline) + (SELECT count(*) FROM shipping.deadline)
"""


@dataclass(frozen=True)
class Grown:
    """What there is at a moment: memory by program, events that consumers lack, WAL that is kept, and rows."""

    memory_bytes: dict[str, int]
    lag_events: int
    wal_bytes: int
    tasks: int
    tasks_done: int
    deadlines: int


def measure(port: int, minutes: float, *, quick: bool = False) -> dict[str, Any]:
    """Measures on a stack that is emptied before and afterwards. The result is as docs/benchmarks.md says.

    Raises what the stack or the load raises.
    """
    target = Target(ROOT, port)
    with target.running():
        measures = Measures(target, Windows())
        measures.steady(PER_MINUTE, _SETTLE_QUICK_S if quick else _SETTLE_S)
        looks = [_look(target)]
        since, placed = time.time(), 0
        for _ in _minutes(minutes):
            placed += measures.steady(PER_MINUTE, min(60.0, minutes * 60))
            looks.append(_look(target))
            say(f"after {len(looks) - 1} minutes: {looks[-1]}")
        measures.await_quiet()
        with connect(target.clickhouse_url) as client:
            p50_ms, p99_ms, confirmed = _took_ms(client, since)
    return {
        "orders_per_minute": PER_MINUTE,
        "minutes": minutes,
        "placed": placed,
        "confirmed": confirmed,
        "placed_to_confirmed_ms": {"p50": p50_ms, "p99": p99_ms},
        "first": vars(looks[0]),
        "last": vars(looks[-1]),
        "lag_events": [each.lag_events for each in looks],
    }


def _minutes(minutes: float) -> Iterator[int]:
    for number in count():
        if number >= minutes:
            return
        yield number


def _look(target: Target) -> Grown:
    found = target.status()
    memory = {name: each["memory_bytes"] for name, each in found["programs"].items() if each["memory_bytes"]}
    lag = sum(each["lag"] for each in found["consumers"])
    with closing(psycopg2.connect(target.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(_KEPT)
        wal, tasks, done, deadlines = cursor.fetchone() or (0, 0, 0, 0)
    return Grown(memory, lag, int(wal or 0), tasks, done, deadlines)


def _took_ms(client: Client, since: float) -> tuple[float, float, int]:
    [([p50_ms, p99_ms], confirmed)] = client.query(_TOOK, {"since": since}).result_rows
    return round(p50_ms, 1), round(p99_ms, 1), confirmed
