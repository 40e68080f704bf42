"""What `marea bench` prints: figures for people, or JSON as the last line."""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from bench import against as against_commit
from bench import against_peers, more_consumers
from bench import dashboards as many_rows
from bench import deadlines as due_deadlines
from bench import path as whole_path
from bench import reads as many_reads
from bench import steady as steady_pace
from bench import streams as many_streams
from bench.cpu import ProgramEnded
from bench.ratios import Ratio
from bench.target import TargetFailed
from cli.ending import heed_sigterm
from demo.placing import LoadFailed

_T = TypeVar("_T")

output = Console()
errors = Console(stderr=True)


def path(port: int, *, quick: bool, as_json: bool) -> None:
    """Measures the path."""
    _print(_catching(lambda: whole_path.measure(port, quick=quick)), as_json=as_json)


def against(commit: str, port: int, runs: int, *, quick: bool, as_json: bool) -> None:
    """Measures the path on this checkout and on another commit, in turns."""
    compared = _catching(lambda: against_commit.compare(commit, port, runs, quick=quick))
    for ours, theirs in compared.pairs:
        errors.print(
            f"this checkout {ours}\n{commit} {theirs}", markup=False, highlight=False, soft_wrap=True
        )
    if as_json:
        typer.echo(json.dumps(compared.ratios))
    else:
        output.print(_ratios(compared.ratios), highlight=False)


def consumers(port: int, *, quick: bool, as_json: bool) -> None:
    """Measures the path with more views."""
    _print(_catching(lambda: more_consumers.measure(port, quick=quick)), as_json=as_json)


def dashboards(port: int, *, quick: bool, as_json: bool) -> None:
    """Measures the queries of the dashboards."""
    _print(_catching(lambda: many_rows.measure(port, quick=quick)), as_json=as_json)


def deadlines(port: int, *, quick: bool, as_json: bool) -> None:
    """Measures how late deadlines become commands."""
    _print(_catching(lambda: due_deadlines.measure(port, quick=quick)), as_json=as_json)


def peers(port: int, *, quick: bool, as_json: bool) -> None:
    """Measures Marea beside other stream processors."""
    _print(_catching(lambda: against_peers.measure(port, quick=quick)), as_json=as_json)


def reads(port: int, *, quick: bool, as_json: bool) -> None:
    """Measures reads, beside plain Flask's."""
    _print(_catching(lambda: many_reads.measure(port, quick=quick)), as_json=as_json)


def steady(port: int, minutes: float, *, quick: bool, as_json: bool) -> None:
    """Measures orders at a steady pace."""
    _print(_catching(lambda: steady_pace.measure(port, minutes, quick=quick)), as_json=as_json)


def streams(port: int, *, quick: bool, as_json: bool) -> None:
    """Measures many listeners."""
    _print(_catching(lambda: many_streams.measure(port, quick=quick)), as_json=as_json)


def _ratios(found: Mapping[str, Ratio]) -> Table:
    table = Table("", "this checkout over the other", "lowest", "highest", box=None)
    for name, each in found.items():
        table.add_row(name, f"{each['ratio']:.2f}", f"{each['low']:.2f}", f"{each['high']:.2f}")
    return table


def _print(measured: Mapping[str, Any], *, as_json: bool) -> None:
    typer.echo(json.dumps(measured, indent=None if as_json else 2))


def _catching(work: Callable[[], _T]) -> _T:
    """What is expected to go wrong ends in a sentence and exit code 1; anything else is a fault of ours."""
    heed_sigterm()
    try:
        return work()
    except (
        LoadFailed,
        TargetFailed,
        ProgramEnded,
        against_commit.NoSuchCommit,
        against_peers.PeerFailed,
        due_deadlines.NotCarriedOut,
        more_consumers.NotConsumed,
        many_reads.NotRead,
        many_streams.NotTold,
    ) as error:
        errors.print(f"marea: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
