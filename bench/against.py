"""`marea bench against COMMIT`: this checkout beside another commit, each with its own stack, in turns.

The machine's speed varies by two within an hour, so figures of two days say little about two commits. Here both are
driven by this checkout's load and measured by this checkout's code, one right after the other, several times.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.cpu import TOTAL
from bench.measures import Measures, Windows, say
from bench.ratios import Figures, Ratio, ratios
from bench.target import Target
from local.layout import PORTS, ROOT, STATE

#: Three runs of both take about half an hour.
WINDOWS = Windows(accept_s=10.0, saga_s=20.0, freshness_s=10.0, drain_events=100_000, rebuild_events=50_000)
QUICK = Windows(
    accept_s=3.0, saga_s=5.0, rates_per_s=(50, 200), freshness_s=3.0, drain_events=0, rebuild_events=5_000
)
#: What two commits share when they need the same, and the file that says what they need.
_SHARED = {"venv": "requirements.txt", "jars": "connectors/jars.sha256"}


class NoSuchCommit(Exception):
    """Git does not know the commit."""


class Compared(NamedTuple):
    """Each pair's figures, ours before theirs, and their ratios."""

    pairs: Sequence[tuple[Figures, Figures]]
    ratios: dict[str, Ratio]


def compare(commit: str, port: int, runs: int, *, quick: bool = False) -> Compared:
    """Runs the path on both stacks in turns. Raises NoSuchCommit, or what a stack, the load or a rebuild raises."""
    windows = QUICK if quick else WINDOWS
    ours, theirs = Target(ROOT, port), Target(check_out(commit), port + PORTS)
    pairs = []
    for run in range(1, runs + 1):
        say(f"run {run} of {runs}: this checkout")
        mine = measure(ours, windows)
        say(f"run {run} of {runs}: {commit}")
        pairs.append((mine, measure(theirs, windows)))
    return Compared(pairs, ratios(pairs))


def measure(target: Target, windows: Windows) -> dict[str, float]:
    """One run, on a stack that is emptied before and afterwards. Each begins with the same number of events."""
    with target.running():
        return _measure(Measures(target, windows), windows)


def _measure(measures: Measures, windows: Windows) -> dict[str, float]:
    measures.fill()  # warms up Java, too
    figures = {"rebuild_one": measures.rebuild(1), "rebuild_two": measures.rebuild(2)}
    for shape in measures.shapes:
        saga = measures.saga(shape)
        figures[f"saga_{shape}"] = saga.per_s
        figures["cpu_per_order" if shape == "two_lines" else f"cpu_per_order_{shape}"] = (
            saga.cpu_ms_per_order[TOTAL]
        )
    for shape in measures.shapes:
        figures[f"accept_{shape}"] = measures.accept(shape)
    for rate in windows.rates_per_s:
        for name, value in measures.freshness(rate).items():
            if value is not None:
                figures[f"freshness_{name}_{rate}"] = value
    if windows.drain_events:
        figures["drain"] = measures.drain()
    return figures


def check_out(commit: str) -> Path:
    """A work tree of the commit, which keeps its own stacks; made once. Raises NoSuchCommit."""
    found = _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    if found.returncode:
        raise NoSuchCommit(f"there is no commit {commit!r} in this repository")
    sha = found.stdout.strip()
    tree = STATE / "against" / sha
    if not (tree / "marea").exists():
        added = _git("worktree", "add", "--force", "--detach", str(tree), sha)
        if added.returncode:
            raise NoSuchCommit(f"git could not check out {commit}: {added.stderr.strip()}")
    _share(tree)
    return tree


def _share(tree: Path) -> None:
    """Gives it this checkout's packages where it needs the same; others are installed by its own `./marea`."""
    state = tree / ".marea"
    state.mkdir(exist_ok=True)
    for folder, needs in _SHARED.items():
        ours, theirs = ROOT / needs, tree / needs
        kept = state / folder
        if kept.is_symlink():
            kept.unlink()
        if not kept.exists() and theirs.exists() and ours.read_bytes() == theirs.read_bytes():
            kept.symlink_to((STATE / folder).resolve())


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=False, capture_output=True, text=True)
