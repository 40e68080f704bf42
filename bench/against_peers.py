"""`marea bench peers`: Marea beside other stream processors, at the same work in one run. See bench/peers."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Any
from uuid import uuid4

import orjson
from redis import Redis

from bench import machine
from bench.measures import PATIENCE_S, Measures, Windows, say
from bench.rows import rows
from bench.stopwatch import Speed, Stopwatch
from bench.target import Target
from local.layout import ROOT, STATE, Layout
from ops.rebuild import rebuild
from schemas.registry import register

WINDOWS, QUICK = Windows(rebuild_events=120_000), Windows(rebuild_events=12_000)
ROUNDS = 3

_REQUIREMENTS = ROOT / "bench" / "peers" / "requirements.txt"
_BYTEWAX_FOLDER = "bytewax"
#: How each peer is started, in a folder of its own.
_PEERS: Mapping[str, Sequence[str]] = {
    "bytewax": ("bytewax.run", "bench.peers.with_bytewax:flow", "-r", _BYTEWAX_FOLDER, "-s", "5", "-b", "0"),
    "quix_streams": ("bench.peers.with_quix",),
    "arroyo": ("bench.peers.with_arroyo",),
    "faust": (
        "faust",
        "-A",
        "bench.peers.with_faust",
        "--datadir",
        "faust",
        "worker",
        "-l",
        "warn",
        "--without-web",
    ),
}


class PeerFailed(Exception):
    """A peer did not do all events, or its rows are not the view's."""


def measure(port: int, *, quick: bool = False) -> dict[str, Any]:
    """Each one's median speed, and the lowest and highest; see docs/benchmarks.md. Raises PeerFailed, among others."""
    python = install()
    before = machine.measure()
    target = Target(ROOT, port)
    with target.running():
        measures = Measures(target, QUICK if quick else WINDOWS)
        measures.fill()
        rounds = [_round(target, python, measures.order_events()) for _ in range(1 if quick else ROUNDS)]
    found = {name: _summary([each[name] for each in rounds]) for name in rounds[0]}
    return {**found, "machine": machine.summary(before, machine.measure())}


def install() -> Path:
    """The Python of the peers' environment, which is made when it is missing or its requirements have changed."""
    folder = STATE / "peers"
    python, stamp = folder / "bin" / "python", folder / "stamp"
    if not stamp.exists() or stamp.read_bytes() != _REQUIREMENTS.read_bytes():
        say("installing the peers' packages")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--require-hashes", "-r", str(_REQUIREMENTS)], check=True)
        stamp.write_bytes(_REQUIREMENTS.read_bytes())
    return python


def _round(target: Target, python: Path, events: int) -> dict[str, Speed]:
    redis_pid = target.programs()["redis"]["pid"]
    found = {"marea": marea(Stopwatch(redis_pid, events), target.port)}
    for name in _PEERS:
        found[name] = peer(name, python, target, Stopwatch(redis_pid, events), events)
    for name, speed in found.items():
        say(f"{name}: {speed.events_per_s:,.0f}/s, {speed.cpu_us_per_event} µs of CPU an event")
    return found


def marea(stopwatch: Stopwatch, port: int) -> Speed:
    """A rebuild of the view by one process, fenced and compared with the live one. Raises PeerFailed."""
    os.environ.update(Layout(port).environment)
    rebuilt = rebuild("order", 1, lambda name, done, total: stopwatch.hear(done))
    if not rebuilt.identical:
        raise PeerFailed("the rebuilt view is not the live one")
    return stopwatch.speed()


def peer(name: str, python: Path, target: Target, stopwatch: Stopwatch, events: int) -> Speed:
    """One peer, from the topic's beginning to its end; its rows are compared, and deleted. Raises PeerFailed."""
    run = f"peer-{name}-{uuid4().hex[:8]}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAREA_")} | {
        "PYTHONPATH": str(ROOT),
        "PEER_KAFKA": target.kafka,
        "PEER_GROUP": run,
        "PEER_REDIS_URL": target.redis_url,
        "PEER_HASH": run,
        "PEER_EVENTS": str(events),
        "PEER_SCHEMAS": json.dumps(register(target.registry_url)),
    }
    with TemporaryDirectory() as folder, Redis.from_url(target.redis_url) as redis:
        if name == "bytewax":
            (Path(folder) / _BYTEWAX_FOLDER).mkdir()
            made = [str(python), "-m", "bytewax.recovery", _BYTEWAX_FOLDER, "1"]
            subprocess.run(made, check=True, cwd=folder, env=environment)
        _follow([str(python), "-m", *_PEERS[name]], folder, environment, stopwatch)
        try:
            _compare(redis, run)
        finally:
            redis.delete(run)
    return stopwatch.speed()


def _follow(command: list[str], folder: str, environment: Mapping[str, str], stopwatch: Stopwatch) -> None:
    """Until it has said that all is done, or has ended, or PATIENCE_S are over."""
    with Popen(command, stdout=PIPE, text=True, cwd=folder, env=environment) as process:
        assert process.stdout
        patience = Timer(PATIENCE_S, process.kill)
        patience.start()
        try:
            for line in process.stdout:
                if line.strip().isdigit():
                    stopwatch.hear(int(line))
                if stopwatch.is_over:
                    break
        finally:
            patience.cancel()
            process.terminate()
            process.stdout.read()  # what it says at its end
    if not stopwatch.is_over:
        raise PeerFailed(
            f"`{' '.join(command)}` ended, or took {PATIENCE_S:.0f} s, before all events were done: see above"
        )


def _compare(redis: Any, written: str) -> None:
    """Raises PeerFailed unless the hash has the rows of the live view."""
    expected = rows(redis, "order", int(os.environ["MAREA_PARTITIONS"]))
    found: dict[bytes, bytes] = redis.hgetall(written)
    differing = [
        key for key in expected.keys() | found.keys() if _row(expected.get(key)) != _row(found.get(key))
    ]
    if differing:
        raise PeerFailed(
            f"{written}: {len(differing)} rows of {len(expected)} are not the view's: {differing[:3]}"
        )


def _row(json_row: bytes | None) -> Any:
    return json_row and orjson.loads(json_row)


def _summary(speeds: Sequence[Speed]) -> dict[str, float]:
    rates = [speed.events_per_s for speed in speeds]
    return {
        "events_per_s": median(rates),
        "low": min(rates),
        "high": max(rates),
        "cpu_us_per_event": median(speed.cpu_us_per_event for speed in speeds),
        "redis_us_per_event": median(speed.redis_us_per_event for speed in speeds),
    }
