"""Processes and their memory, as the kernel tells."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

_PARENT_FIELD = 1  # of /proc/PID/stat, after the name in parentheses


def running() -> Iterator[int]:
    """The ids of all processes that we may see."""
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children = defaultdict(list)
    for each in running():
        parent = _parent(each)
        if parent is not None:
            children[parent].append(each)
    found = [pid]
    for process in found:  # grows while we go
        found += children[process]
    return found


def children(pid: int) -> list[int]:
    """A process's children."""
    return [each for each in running() if _parent(each) == pid]


def memory_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants; a page that several share counts once (kernel's Pss)."""
    return sum(map(_proportional_bytes, tree(pid)))


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[_PARENT_FIELD])
    except (FileNotFoundError, ProcessLookupError):
        return None  # ended meanwhile


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0  # ended meanwhile
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
