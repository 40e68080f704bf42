"""What the commands that work with a running stack print: figures for people, or JSON as the last line."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from local.stack import NotStarted, Stack

output = Console()
errors = Console(stderr=True)

_T = TypeVar("_T")


def load(stack: Stack, orders: int, rate: str, *, as_json: bool) -> None:
    """Places baskets."""
    from demo.load import load
    from ops.console import text

    loaded = _do(stack, lambda: load(orders, _per_s(rate)))
    if as_json:
        typer.echo(json.dumps(asdict(loaded)))
        return
    table = Table(box=None, show_header=False)
    for name, value in asdict(loaded).items():
        table.add_row(name.replace("_", " "), text(value))
    output.print(table, highlight=False)


def verify(stack: Stack, *, as_json: bool) -> None:
    """Compares PostgreSQL with everything made from it; exits 1 if there is any difference."""
    from ops import console

    _do(stack, lambda: console.verify(as_json=as_json))


def rebuild(
    stack: Stack, name: str, workers: int, *, only_changed: bool, accept_differences: bool, as_json: bool
) -> None:
    """Rebuilds what is meant; exits 1 if one was not identical and so did not go live."""
    from ops import console

    def work() -> None:
        console.rebuild(
            name, workers, only_changed=only_changed, accept_differences=accept_differences, as_json=as_json
        )

    _do(stack, work)


def dashboards(stack: Stack, folder: Path, since: str | None) -> None:
    """Draws every dashboard, and says which panels have no data."""
    from dashboards.every import DASHBOARDS
    from dashboards.pictures import draw
    from dashboards.queries import Sources, period_of
    from kernel import settings
    from streams.engine.stores.clickhouse import connect

    def work() -> None:
        try:
            period_of(DASHBOARDS[0], since=since)
        except ValueError as error:
            _fail(str(error))
        folder.mkdir(parents=True, exist_ok=True)
        with connect(settings.clickhouse_url()) as client:
            sources = Sources(client, settings.setting("PROMETHEUS_URL"))
            for dashboard in DASHBOARDS:
                drawn = draw(dashboard, sources, folder, since)
                output.print(f"{drawn.path}", highlight=False, soft_wrap=True)
                for title, reason in drawn.empty.items():
                    output.print(f"  no data: {title} {reason}", markup=False, highlight=False, soft_wrap=True)

    _do(stack, work)


def parked(stack: Stack, arguments: Sequence[str]) -> None:
    """What `python -m ops parked` does, on this stack."""
    from ops.parked_commands import app

    def work() -> None:
        app(list(arguments), prog_name="marea parked")

    if not arguments or "--help" in arguments:
        work()  # which needs no stack
    _do(stack, work)


def demo(stack: Stack, orders: int, *, once: bool, as_json: bool) -> None:
    """Shows the whole path; exits 1 if a view or table is not proven."""
    from cli import demo
    from demo.show import Shown, print_summary

    def say(shown: Shown) -> None:
        if as_json:
            typer.echo(json.dumps(shown.as_json()))
            return
        print_summary(output, shown)
        if not once:
            demo.print_where_to_look(output, stack.layout)
            output.print("Ctrl-C ends it.")

    os.environ.update(stack.layout.environment)
    if not _catching(lambda: demo.run(stack, orders, say, _report, once=once)):
        raise typer.Exit(1)


def _do(stack: Stack, work: Callable[[], _T]) -> _T:
    """Does work that needs the stack to be up."""
    if not stack.supervisor.is_running():
        _fail(f"the stack on port {stack.layout.port} is not up: start it with ./marea up")
    os.environ.update(stack.layout.environment)
    return _catching(work)


def _catching(work: Callable[[], _T]) -> _T:
    """What is expected to go wrong ends in a sentence and exit code 1; anything else is a fault of ours."""
    from demo.placing import LoadFailed
    from local.program import PortTaken
    from ops.positions import UNANSWERED, said
    from ops.rebuild import RebuildFailed
    from ops.states import CannotVerify

    try:
        return work()
    except (LoadFailed, RebuildFailed, CannotVerify, NotStarted, PortTaken) as error:
        _fail(str(error))
    except UNANSWERED as error:
        _fail(f"something that this needs does not answer: {said(error)}: see ./marea status")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _fail(text: str) -> NoReturn:
    errors.print(f"marea: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def _report(name: str, seconds: float) -> None:
    errors.print(f"[green]✓[/green] {name} [dim]{seconds:.1f} s[/dim]", highlight=False)


def _per_s(rate: str) -> float | None:
    if rate == "max":
        return None
    try:
        per_s = float(rate)
    except ValueError:
        per_s = 0.0
    if per_s <= 0:
        _fail(f"--rate is {rate!r}: give orders a second, such as 500, or max")
    return per_s
