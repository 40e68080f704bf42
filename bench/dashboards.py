"""`marea bench dashboards`: how long each panel's query takes over ten million order lines. Takes about two minutes.

ClickHouse runs alone, with rows that it makes itself: a year of orders up to now, ten lines each. Every query of ClickHouse
is asked for the period that its dashboard shows at first, and for the whole year.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import OperationalError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from api.services import tables
from bench.measures import say
from dashboards.every import DASHBOARDS
from dashboards.model import SQL, Dashboard, Panel
from dashboards.queries import Sources, period_of
from local.layout import HOST, ROOT
from ops.summaries import FOLDER, make
from streams.engine.stores.clickhouse import connect, generation_table, show_generation

#: Orders of ten lines each, and how many of them are written by one statement.
ORDERS, ORDERS_QUICK, _AT_ONCE = 1_000_000, 100_000, 100_000
_PRODUCTS, _CUSTOMERS = 20_000, 2_500
#: How often each query is asked; the first time does not count.
_TIMES = 5
_YEAR = "now-1y"
_READY_S = 30.0

# Order number `o` of {orders}: placed somewhere in its share of the year. Nearly all are confirmed; the last ones wait.
_ORDER = """
WITH
    {first} + intDiv(number, {each}) AS o, number % {each} + 1 AS n,
    toDateTime64({now}, 6, 'UTC') - toIntervalDay(365) + toIntervalMicrosecond(intDiv(o * 31536000000000, {orders})) AS at,
    toUUID(concat('01900000-0000-7000-8000-', leftPad(toString(o), 12, '0'))) AS id,
    toString(cityHash64(o, 1) % {customers}) AS customer,
    2000 + cityHash64(o, 2) % 9000 AS total,
    multiIf(o + 10 > {orders}, 'placed', cityHash64(o, 3) % 100 < 6, 'rejected', cityHash64(o, 3) % 100 < 8, 'cancelled',
        'confirmed') AS state,
    if(state = 'rejected', 'not enough stock', '') AS why,
    at + toIntervalMillisecond(20 + cityHash64(o, 4) % 200) AS answered,
    cityHash64(o, n, 5) % {products} AS product
"""
_PRODUCT = """
concat('Product ', toString({0})), concat('DEPARTMENT ', toString({0} % 30)), concat('CATEGORY ', toString({0} % 300)),
if({0} % 4 = 0, 'Private', 'National')
"""
_OF_PRODUCT = _PRODUCT.format("product")
_POSITION = "'bench', o % 4, intDiv(o, 4)"
_CHANGED = "if(n = 1, at, answered)"
_KIND = "multiIf(n = 10, 'received', n = 9, 'adjusted', 'reserved')"
_DELTAS = "multiIf(n = 10, 20, n = 9, -1, 0), if(n < 9, 2, 0)"
_DONE = "multiIf(n = 1, if(cityHash64(o, 6) % 100 < 3, 'PaymentDeclined', 'PaymentAuthorized'), n = 2, 'PaymentCaptured', 'PaymentSettled')"
_CODE = f"if({_DONE} = 'PaymentDeclined', 'card_declined', '')"
_PAID = "if(n = 1, 'authorized', 'paid')"
#: By table, how many rows an order has there, and each one's columns.
_ROWS = {
    "orders": (1, f"id, 1, customer, state, why, 'USD', total, total, 0, 0, 0, 0, 0, 0, 10, at, answered, {_POSITION}"),
    "order_lines": (
        10,
        f"id, n, 1, customer, toString(product), {_OF_PRODUCT}, 1 + n % 3, 100 + product % 900, 'USD', at, {_POSITION}",
    ),
    "order_changes": (
        2,
        f"id, n, if(n = 1, 'placed', state), if(n = 1, '', why), 'USD', total, total, 10, at, {_CHANGED}, {_POSITION}",
    ),
    "payments": (1, f"id, 3, customer, 'paid', '', 'USD', total, 0, total, 0, 0, 2, 0, 0, answered, {_POSITION}"),
    "payment_changes": (
        3,
        f"id, n, {_DONE}, {_PAID}, 'USD', if(n = 3, 0, total), {_CODE}, if(n = 1, 0, total), 0, answered, {_POSITION}",
    ),
    "shipments": (1, f"id, 1, 4, 'delivered', 10, 'USD', total, '', answered + toIntervalDay(2), {_POSITION}"),
    "stock_movements": (
        10,
        f"toString(product), o * 10 + n, {_KIND}, toString(id), if(n = 9, 'broken', ''), {_DELTAS}, 1000, 10, at, {_POSITION}",
    ),
}
_ITEMS = {
    "products": f"toString(number), 1, {_PRODUCT.format('number')}, 100 + number % 900, 'USD', false, now64(6), 'bench', 0, number",
    "stock_items": "toString(number), 1, number % 500, number % 100, now64(6), 'bench', 0, number",
}


def measure(port: int, *, quick: bool = False) -> dict[str, Any]:
    """Measures on a ClickHouse of its own. The result is as docs/benchmarks.md says."""
    orders = ORDERS_QUICK if quick else ORDERS
    with _clickhouse(f"http://bench:bench@{HOST}:{port}/bench") as client:
        _fill(client, orders)
        began = perf_counter()
        for path in sorted(FOLDER.glob("*.sql")):
            make(client, path)
            client.command(f"SYSTEM WAIT VIEW {path.stem}_history")
        summaries_s = perf_counter() - began
        sources = Sources(client, "")
        panels_ms = {dashboard.uid: found for dashboard in DASHBOARDS if (found := _panels_ms(dashboard, sources))}
    return {
        "order_lines": orders * _ROWS["order_lines"][0],
        "summaries_s": round(summaries_s, 1),
        "slowest_ms": {since: max(found[since] for each in panels_ms.values() for found in each.values()) for since in ("first", "year")},
        "panels_ms": panels_ms,
    }


@contextmanager
def _clickhouse(url: str) -> Iterator[Client]:
    """A chDB behind ClickHouse's protocol, as the local stack has it, on a folder that is deleted afterwards."""
    with TemporaryDirectory(prefix="marea-bench-") as folder:
        command = (sys.executable, "-m", "local.chdb_server", str(Path(folder) / "data"))
        server = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "MAREA_CLICKHOUSE_URL": url})
        try:
            with _connected(url) as client:
                yield client
        finally:
            server.terminate()
            server.wait()


@retry(retry=retry_if_exception_type(OperationalError), stop=stop_after_delay(_READY_S), wait=wait_fixed(0.2), reraise=True)
def _connected(url: str) -> Client:
    return connect(url)


def _fill(client: Client, orders: int) -> None:
    now = int(str(client.command("SELECT toUnixTimestamp(now())")))
    for table in tables().values():
        client.command((ROOT / table.columns).read_text(), {"table": generation_table(table.name, 1)})
        show_generation(client, table.name, 1)
    for name, columns in _ITEMS.items():
        client.command(f"INSERT INTO {generation_table(name, 1)} SELECT {columns} FROM numbers({_PRODUCTS})")
    shared = {"orders": orders, "now": now, "customers": _CUSTOMERS, "products": _PRODUCTS}
    for first in range(0, orders, _AT_ONCE):
        for name, (each, columns) in _ROWS.items():
            order = _ORDER.format(first=first, each=each, **shared)
            rows = f"SELECT {columns} FROM numbers({_AT_ONCE * each})"
            client.command(f"INSERT INTO {generation_table(name, 1)} {order} {rows}")
        say(f"{first + _AT_ONCE:,} orders of {orders:,} are there")


def _panels_ms(dashboard: Dashboard, sources: Sources) -> dict[str, dict[str, float]]:
    """By title, what each panel's queries take: of what is shown at first, and of the year."""
    found = {}
    for panel in dashboard.panels():
        if any(isinstance(query, SQL) for query in panel.queries):
            took = {"first": dashboard.since, "year": _YEAR}
            found[panel.title] = {name: _milliseconds(dashboard, panel, sources, since) for name, since in took.items()}
            say(f"{dashboard.uid} · {panel.title}: {found[panel.title]}")
    return found


def _milliseconds(dashboard: Dashboard, panel: Panel, sources: Sources, since: str) -> float:
    period = period_of(dashboard, since=since)
    values = sources.values(dashboard, period)
    took: list[float] = []
    for _ in range(_TIMES + 1):
        began = perf_counter()
        sources.answers(panel, period, values)
        took.append((perf_counter() - began) * 1_000)
    return round(median(took[1:]), 1)
