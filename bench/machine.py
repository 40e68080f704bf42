"""How fast this machine is just now: a fixed piece of work, so that runs of different hours can be set in relation."""

import multiprocessing
from collections.abc import Callable, Mapping
from hashlib import sha256
from statistics import fmean, median
from time import perf_counter

_REPEATED = 5
_STEPS = 400_000
_HASHED = bytes(32 * 1024 * 1024)


def measure() -> dict[str, float]:
    """Times the work: `python_ms` and `sha256_ms` alone, `two_at_once` what it takes when two do it, relative to one.

    `two_at_once` is 1 where each of two processes has a core to itself, and 2 where they share one.
    """
    alone_ms = _milliseconds(python_work)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(_milliseconds, [python_work] * 2, chunksize=1)  # both have started by then
        both_ms = pool.map(_milliseconds, [python_work] * 2, chunksize=1)
    return {
        "python_ms": round(alone_ms, 2),
        "sha256_ms": round(_milliseconds(hashing), 2),
        "two_at_once": round(fmean(both_ms) / alone_ms, 2),
    }


def summary(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """The means of what was measured before and after a run; `drift` is how much slower Python was afterwards."""
    means = {name: round(fmean((before[name], after[name])), 2) for name in before}
    return {**means, "drift": round(after["python_ms"] / before["python_ms"], 2)}


def python_work() -> int:
    """What interpreters do: integers, a dictionary, a branch."""
    seen: dict[int, int] = {}
    for number in range(_STEPS):
        key = number * 7919 % 1009
        seen[key] = seen.get(key, 0) + (number if number & 1 else -number)
    return sum(seen.values())


def hashing() -> bytes:
    """What machine code does, in cache and memory."""
    return sha256(_HASHED).digest()


def _milliseconds(work: Callable[[], object]) -> float:
    """The median of several: one disturbance does not count."""
    took = []
    for _ in range(_REPEATED):
        started = perf_counter()
        work()
        took.append((perf_counter() - started) * 1_000)
    return median(took)
