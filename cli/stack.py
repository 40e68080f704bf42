"""What the commands of the stack print."""

import json
import os
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from connectors.relay import RelayDown
from local.program import PortTaken, Unfit
from local.stack import NotStarted, Report, Stack, tail
from local.status import describe
from local.supervisor import NotEnded
from schemas.registry import IncompatibleSchema

_T = TypeVar("_T")
_MIB = 1024 * 1024
_LOG_LINES = 200

output = Console()
errors = Console(stderr=True)


def up(stack: Stack, workers: int | None) -> None:
    """Starts the stack, showing what becomes ready."""
    if workers:
        stack.use_workers(workers)
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
    found = describe(stack)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show(found)
    if check and found["troubles"]:
        raise typer.Exit(1)


def _show(found: dict[str, Any]) -> None:
    style = "red" if found["troubles"] else "green"
    output.print(found["verdict"], style=style, markup=False, highlight=False, soft_wrap=True)
    for trouble in found["troubles"] if len(found["troubles"]) > 1 else ():
        output.print(f"- {trouble['sentence']}", style=style, markup=False, highlight=False, soft_wrap=True)
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
    output.print(table)
    for name, each in found["programs"].items():
        if each["reason"]:
            output.print(f"[yellow]{name} does not serve: {escape(each['reason'])}[/yellow]", highlight=False)
    total = sum(each["memory_bytes"] for each in found["programs"].values())
    output.print(f"{total / _MIB:.0f} MiB in all, without counting shared pages twice", highlight=False)
    _show_relays(found["relays"])
    _show_consumers(found["consumers"])


def _show_consumers(consumers: list[dict[str, Any]] | str) -> None:
    if isinstance(consumers, str):
        output.print(f"consumers: not known: {consumers}", style="yellow", markup=False, highlight=False)
        return
    figures = (Column(name, justify="right") for name in ("behind", "parked"))
    table = Table(Column("consumer", no_wrap=True), *figures, "state", box=None)
    for each in consumers:
        style = "red" if each["ahead"] or each["stopped"] or each["stands"] or each["unread"] else "yellow" if each["parked"] else "green"
        numbers = (f"{each['lag']:,}", f"{each['parked']:,}")
        table.add_row(each["name"], *numbers, f"[{style}]{escape(each['state'])}[/{style}]")
    output.print(table, highlight=False)


def _show_relays(relays: list[dict[str, Any]] | str) -> None:
    if isinstance(relays, str):
        output.print(f"relay: not known: {relays}", style="yellow", markup=False, highlight=False)
        return
    table = Table("relay", "state", "slot", "behind", "WAL kept", "until lost", box=None)
    for relay in relays:
        slot = relay["slot"] or {}
        sizes = (slot.get(name) for name in ("lag_bytes", "retained_bytes", "safe_bytes"))
        figures = ("" if size is None else f"{size / _MIB:,.1f} MiB" for size in sizes)
        reading = "missing" if not slot else "read" if slot["active"] else "not read"
        table.add_row(relay["connector"], relay["state"], f"{slot.get('wal_status', '')} {reading}".strip(), *figures)
    output.print(table)


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
