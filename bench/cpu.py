"""CPU time by component, as the kernel counts it in /proc/PID/stat: user and system, of processes and their children.

A process that ends leaves its time with the parent that waited for it, so the sum over a tree loses nothing.
"""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from local.processes import running

#: Where this benchmark's own time goes, and that of what belongs to no program.
LOAD, REST, TOTAL = "load", "rest", "total"
WORKERS, COMPANIES = "workers", "companies"
_PROGRAMS = {"postgresql", "connect", "kafka", "redis", "clickhouse", "nginx", "registry", "orders"}
#: The provider of payments and the carrier, as they are simulated.
_COMPANIES = {"provider", "carrier"}
_TICK_MS = 1_000 / os.sysconf("SC_CLK_TCK")
_ATTEMPTS = 20
# Of /proc/PID/stat, after the name in parentheses.
_PARENT, _TIMES = 1, slice(11, 15)


class ProgramEnded(Exception):
    """A program ended while it was measured: what it used can't be told from what its supervisor used."""


class Process(NamedTuple):
    """One process: its parent, and the ticks used by it and by those children of its that have ended."""

    parent: int
    ticks: int


def parse(stat: str) -> Process:
    """The text of a /proc/PID/stat. A name may hold spaces and parentheses."""
    fields = stat.rpartition(")")[2].split()
    return Process(int(fields[_PARENT]), sum(map(int, fields[_TIMES])))


def snapshot() -> dict[int, Process]:
    """All processes by id, at one moment: read again until none has ended or begun meanwhile.

    Else the time of one that ended while we read would count twice, or not at all. Where processes come and go all
    the time the last attempt counts.
    """
    found = _read()
    for _ in range(_ATTEMPTS):
        again = _read()
        if again.keys() == found.keys():
            return again
        found = again
    return found


def component(program: str, services: frozenset[str]) -> str:
    """The component to which a program of the stack belongs."""
    if program in _PROGRAMS:
        return program
    if program.startswith("worker"):
        return WORKERS
    if program in _COMPANIES:
        return COMPANIES
    return "services" if program in services else REST


def ticks_by_component(processes: Mapping[int, Process], roots: Mapping[int, str]) -> Counter[str]:
    """Ticks of each root's tree, under the root's component. Below another root, the nearer one counts."""
    ticks: Counter[str] = Counter()
    for pid, process in processes.items():
        root: int | None = pid
        while root is not None and root not in roots:
            root = processes[root].parent if root in processes else None
        if root is not None:
            ticks[roots[root]] += process.ticks
    return ticks


class Meter:
    """What each component uses from when this is made on. `roots` are the components of processes, by their ids."""

    def __init__(self, roots: Mapping[int, str]) -> None:
        self._roots = {**roots, os.getpid(): LOAD}
        self._before = ticks_by_component(snapshot(), self._roots)

    def used_ms(self) -> dict[str, float]:
        """Milliseconds by component until now, and in all. Raises ProgramEnded."""
        processes = snapshot()
        if gone := sorted({name for pid, name in self._roots.items() if pid not in processes}):
            raise ProgramEnded(f"{', '.join(gone)} ended while CPU time was measured: see ./marea logs")
        ticks = ticks_by_component(processes, self._roots)
        used = {name: (ticks[name] - self._before[name]) * _TICK_MS for name in sorted(ticks)}
        return {**used, TOTAL: sum(used.values())}


def per(used_ms: Mapping[str, float], units: float) -> dict[str, float]:
    """Milliseconds a unit of work, by component."""
    return {name: round(ms / units, 4) for name, ms in used_ms.items()}


def _read() -> dict[int, Process]:
    found = {}
    for pid in running():
        try:
            found[pid] = parse(Path(f"/proc/{pid}/stat").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
    return found
