"""`marea bench reads`: what reading an order or a product costs, beside the same from PostgreSQL by plain Flask.

The load is wrk's. Takes about three minutes.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from os import environ
from statistics import median
from tempfile import NamedTemporaryFile
from time import monotonic, sleep
from typing import Any, NamedTuple

import psycopg2

from api.services import services
from bench import cpu, machine
from bench.measures import Measures, Windows, say
from bench.plain_reads import DATABASE_URL
from bench.target import Target
from local.layout import HOST, ROOT
from local.program import NotReady, http_get

#: Connections that ask without pause, and seconds of one measurement; each is made so many times, in turns.
CONNECTIONS, SECONDS, ROUNDS = 16, 10, 3
#: Things that are asked for, one after the other.
THINGS = 1_000
#: Above all that the stack listens on.
_PLAIN_PORT = 99
_READY_S = 20.0
_WINDOWS = Windows(java_s=3.0, rebuild_events=2 * THINGS)
_WINDOWS_QUICK = Windows(java_s=1.0, rebuild_events=200)

_ASKED = {
    "order": ("/v1/orders/", "SELECT id::text FROM orders.orders LIMIT %s"),
    "product": ("/v1/products/", "SELECT sku FROM catalog.product LIMIT %s"),
}
_SCRIPT = """
local paths = {{ {paths} }}
local at = 0
request = function()
  at = at % #paths + 1
  return wrk.format("GET", paths[at])
end
"""
_SAID = {
    "per_s": r"Requests/sec:\s+([\d.]+)",
    "p99": r"\s99%\s+([\d.]+)(us|ms|s)",
    "requests": r"(\d+) requests in",
    "wrong": r"Non-2xx or 3xx responses: (\d+)",
}
_MS = {"us": 0.001, "ms": 1.0, "s": 1_000.0}


class NotRead(Exception):
    """wrk is not there, or did not get what it asked for."""


class Read(NamedTuple):
    """Answers a second, 99 of 100 within so many milliseconds, and microseconds of CPU an answer, by component."""

    per_s: float
    p99_ms: float
    cpu_us: Mapping[str, float]


def measure(port: int, *, quick: bool = False) -> dict[str, Any]:
    """Measures on a stack that is emptied before and afterwards. Raises NotRead, and what the stack raises."""
    if shutil.which("wrk") is None:
        raise NotRead("wrk is not installed, which makes the requests: apt-get install wrk")
    seconds, rounds = (1, 1) if quick else (SECONDS, ROUNDS)
    before = machine.measure()
    target = Target(ROOT, port)
    with target.running():
        measures = Measures(target, _WINDOWS_QUICK if quick else _WINDOWS)
        measures.fill()
        paths = {thing: _paths(target, begin, query) for thing, (begin, query) in _ASKED.items()}
        with _plain(target) as plain:
            found = _in_turns(target, paths, plain, seconds, rounds)
    return {**found, "machine": machine.summary(before, machine.measure())}


def _paths(target: Target, begin: str, query: str) -> list[str]:
    with closing(psycopg2.connect(target.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(query, (THINGS,))
        return [begin + key for (key,) in cursor.fetchall()]


def _in_turns(
    target: Target, paths: Mapping[str, Sequence[str]], plain: int, seconds: int, rounds: int
) -> dict[str, Any]:
    roots = {**target.roots(), plain: "plain"}
    owners = {path: each for each in services() for path in each.paths}
    reads: dict[str, list[Read]] = {}
    for _ in range(rounds):
        for thing, asked in paths.items():
            service = owners[asked[0].split("/")[2]]
            addresses = {
                "front_door": target.api_url,
                "service": f"http://{target.programs()[service.name]['address']}",
                "plain": f"http://{HOST}:{target.port + _PLAIN_PORT}",
            }
            for name, address in addresses.items():
                read = _wrk(address, asked, seconds, roots)
                say(f"{thing}, {name}: {read.per_s:.0f}/s, p99 {read.p99_ms} ms, {read.cpu_us}")
                reads.setdefault(f"{thing}_{name}", []).append(read)
    return {name: _middle(each) for name, each in reads.items()}


def _middle(reads: Sequence[Read]) -> dict[str, Any]:
    """The median of each figure."""
    return {
        "per_s": round(median(each.per_s for each in reads), 1),
        "p99_ms": round(median(each.p99_ms for each in reads), 2),
        "cpu_us": {name: round(median(each.cpu_us.get(name, 0.0) for each in reads), 1) for name in reads[0].cpu_us},
    }


def _wrk(address: str, paths: Sequence[str], seconds: int, roots: Mapping[int, str]) -> Read:
    with NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT.format(paths=", ".join(f'"{path}"' for path in paths)))
        script.flush()
        command = ("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", script.name, address)
        meter = cpu.Meter(roots)
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        used_ms = meter.used_ms()
    found = {name: re.search(pattern, said) for name, pattern in _SAID.items()}
    per_s, p99, requests = found["per_s"], found["p99"], found["requests"]
    if found["wrong"] or not (per_s and p99 and requests):
        raise NotRead(f"wrk at {address} did not get what it asked for:\n{said}")
    costs = {name: round(ms * 1_000 / int(requests[1]), 1) for name, ms in used_ms.items() if name != cpu.LOAD}
    costs.pop(cpu.TOTAL)
    costs = {name: cost for name, cost in costs.items() if cost >= 1}
    return Read(float(per_s[1]), round(float(p99[1]) * _MS[p99[2]], 2), {**costs, cpu.TOTAL: round(sum(costs.values()), 1)})


@contextmanager
def _plain(target: Target) -> Iterator[int]:
    """Plain Flask under the same server, with the same threads, while it is in use. Gives its process's id."""
    port = target.port + _PLAIN_PORT
    threads = services()[0].threads
    command = (
        *(sys.executable, "-m", "granian", "--interface", "wsgi", "--factory", "bench.plain_reads:create_app"),
        *("--host", HOST, "--port", str(port), "--http", "1", "--no-ws", "--blocking-threads", str(threads)),
        *("--backpressure", "1024", "--log-level", "warning"),
    )
    process = subprocess.Popen(command, cwd=ROOT, env={**environ, DATABASE_URL: target.database_url})
    try:
        _await(f"http://{HOST}:{port}/v1/products/none")
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _await(url: str) -> None:
    """Returns when it answers, be it that there is nothing."""
    deadline = monotonic() + _READY_S
    while True:
        try:
            http_get(url)
        except NotReady as error:
            if ": 404 " in str(error):
                return
            if monotonic() > deadline:
                raise NotRead(f"plain Flask did not start: {error}") from error
            sleep(0.1)
