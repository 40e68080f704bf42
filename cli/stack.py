"""What the commands of the stack print."""

import os
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

import typer
from rich.console import Console, RenderableType
from rich.table import Column, Table
from rich.text import Text

from connectors.relay import RelayDown
from local.layout import Profile
from local.program import PortTaken, Unfit
from local.stack import NotStarted, Report, Stack, tail
from local.status import describe
from local.supervisor import NotEnded
from ops import console
from schemas.registry import IncompatibleSchema

_T = TypeVar("_T")
_MIB = 1024 * 1024
_LOG_LINES = 200

output = Console()
errors = Console(stderr=True)


def up(stack: Stack, workers: int | None, profile: Profile | None) -> None:
    """Starts the stack, showing what becomes ready."""
    if workers:
        stack.use_workers(workers)
    if profile:
        stack.use_profile(profile)
    _bring_up(stack, stack.up)


def restart(stack: Stack, name: str | None) -> None:
    """Stops a program, or all, and starts the stack, showing what becomes ready."""
    if name and name not in stack.programs:
        _no_such_program(stack, name)
    _bring_up(stack, lambda report: stack.restart(name, report))


def down(stack: Stack) -> None:
    """Stops the stack."""
    _with_progress("Stopping", stack.down)


def reset(stack: Stack) -> None:
    """Stops the stack and deletes its data."""
    _with_progress("Stopping", stack.reset)


def status(stack: Stack, *, check: bool, as_json: bool) -> None:
    """Prints whether anything stands still, and every program's state; with `check`, exits 1 if anything does."""
    console.tell(describe(stack), _picture, check=check, as_json=as_json)


def top(stack: Stack) -> None:
    """What `status` prints, live."""
    console.watch(lambda: _picture(describe(stack)))


def _picture(found: dict[str, Any]) -> Iterator[RenderableType]:
    yield from console.verdict(found)
    table = Table(
        "program",
        "state",
        "version",
        "address",
        Column("pid", justify="right"),
        Column("MiB", justify="right"),
        Column("restarts", justify="right"),
        box=None,
    )
    for name, each in found["programs"].items():
        style = "green" if each["state"] == "RUNNING" else "yellow"
        table.add_row(
            name,
            f"[{style}]{each['state']}[/{style}]",
            each["version"],
            each["address"] or "",
            str(each["pid"] or ""),
            f"{each['memory_bytes'] / _MIB:.0f}" if each["pid"] else "",
            str(each["restarts"] or ""),
        )
    yield table
    for name, each in found["programs"].items():
        if each["reason"]:
            yield Text(f"{name} does not serve: {each['reason']}", "yellow")
    total = sum(each["memory_bytes"] for each in found["programs"].values())
    yield Text(f"{total / _MIB:.0f} MiB in all, without counting shared pages twice")
    yield from console.path(found)


def logs(stack: Stack, name: str, *, follow: bool) -> None:
    """Prints the end of a program's log; with `follow`, what is added too."""
    if name not in stack.programs:
        _no_such_program(stack, name)
    path = stack.layout.log(name)
    if follow:
        os.execvp("tail", ["tail", "-n", str(_LOG_LINES), "-F", str(path)])
    typer.echo(tail(path, _LOG_LINES))


def _bring_up(stack: Stack, work: Callable[[Report], float]) -> None:
    try:
        seconds = _with_progress("Starting", work)
    except (NotStarted, NotEnded, PortTaken, Unfit, RelayDown, IncompatibleSchema) as error:
        errors.print(f"marea: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    output.print(
        f"Ready after {seconds:.1f} s: {stack.layout.environment['MAREA_API_URL']}/docs/", highlight=False
    )


def _no_such_program(stack: Stack, name: str) -> NoReturn:
    errors.print(f"marea: there is no program {name!r}: there are {', '.join(stack.programs)}", markup=False)
    raise typer.Exit(1)


def _with_progress(what: str, work: Callable[[Report], _T]) -> _T:
    """Names what is done as it is done, when somebody looks on."""
    if not errors.is_terminal:
        return work(lambda name, seconds: None)
    with errors.status(f"{what}...") as line:

        def report(name: str, seconds: float) -> None:
            errors.print(f"[green]✓[/green] {name} [dim]{seconds:.1f} s[/dim]", highlight=False)
            line.update(f"{what}...")

        return work(report)
