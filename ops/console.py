"""What `verify`, `rebuild` and `status` print, for `python -m ops` and for `marea`: text for people, or one JSON object."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from time import sleep
from typing import Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from ops.progress import Bar
from ops.rebuild import RebuildFailed, Rebuilt, chosen
from ops.rebuild import rebuild as make_anew
from ops.status import describe
from ops.verify import Verified
from ops.verify import verify as compare

_MIB = 1024 * 1024
#: Seconds between two looks of `top`.
EVERY_S = 2.0

#: What was found, for people.
Picture = Callable[[dict[str, Any]], Iterable[RenderableType]]

output = Console()


def verify(*, as_json: bool) -> None:
    """Compares PostgreSQL with everything made from it; exits 1 if there is any difference. Raises what verify raises."""
    verified = compare()
    if as_json:
        differences = [difference._asdict() for difference in verified.differences]
        by_consumer = {
            "rows": verified.checked,
            "differing": verified.differing,
            "parked": verified.parked,
            "behind": verified.behind,
        }
        typer.echo(json.dumps({**verified.totals(), **by_consumer, "found": differences}, default=str))
    else:
        _show_verified(verified)
    if verified.differing:
        raise typer.Exit(1)


def rebuild(
    name: str, workers: int, *, only_changed: bool, accept_differences: bool, as_json: bool
) -> None:
    """Rebuilds what is meant; exits 1 if one was not identical and so did not go live. Raises what rebuild raises."""
    accepted = accept_differences or only_changed

    def one(name: str) -> Rebuilt:
        with Bar(f"Rebuilding {name}") as bar:
            return make_anew(
                name, workers, lambda _, done, total: bar.update(done, total=total), accept_differences=accepted
            )

    rebuilt = {each: one(each) for each in chosen(name, only_changed=only_changed)}
    if as_json:
        typer.echo(json.dumps({name: asdict(each) for name, each in rebuilt.items()}))
    elif not rebuilt:
        output.print("Every live view and table was written by just this code.")
    else:
        _show_rebuilt(rebuilt)
    if not accepted and not all(each.identical for each in rebuilt.values()):
        raise RebuildFailed("what is not identical did not go live: see `verify`, or use --accept-differences")


def status(*, check: bool, as_json: bool) -> None:
    """Prints whether anything stands still, the relays, the consumers and what is due; with `check`, exits 1 if anything does."""
    tell(describe(), picture, check=check, as_json=as_json)


def top() -> None:
    """The same, live."""
    watch(lambda: picture(describe()))


def picture(found: dict[str, Any]) -> Iterator[RenderableType]:
    """What was found, for people."""
    yield from verdict(found)
    yield from path(found)


def tell(found: dict[str, Any], picture: Picture, *, check: bool, as_json: bool) -> None:
    """Prints what was found as JSON, or shows it; with `check`, exits 1 if there are troubles."""
    if as_json:
        typer.echo(json.dumps(found))
    else:
        for each in picture(found):
            output.print(each, soft_wrap=isinstance(each, Text), highlight=False)
    if check and found["troubles"]:
        raise typer.Exit(1)


def watch(look: Callable[[], Iterable[RenderableType]]) -> None:
    """Shows what is seen now, and again and again, until Ctrl-C. Where there is no terminal, once."""
    try:
        with Live(console=output, screen=output.is_terminal, auto_refresh=False) as live:
            while True:
                live.update(Group(*look()), refresh=True)
                if not output.is_terminal:
                    return
                sleep(EVERY_S)
    except KeyboardInterrupt:
        return


def verdict(found: dict[str, Any]) -> Iterator[Text]:
    """Whether anything stands still; and if several things do, each."""
    style = "red" if found["troubles"] else "green"
    yield Text(found["verdict"], style)
    for trouble in found["troubles"] if len(found["troubles"]) > 1 else ():
        yield Text(f"- {trouble['sentence']}", style)


def path(found: dict[str, Any]) -> Iterator[RenderableType]:
    """The relays, the consumers, deadlines and tasks."""
    yield _relays(found["relays"])
    yield _consumers(found["consumers"])
    if found["due"]:
        yield _due(found["due"])


def text(value: Any) -> str:
    """A value for people."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {text(each)}" for name, each in value.items()) or "none"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _show_verified(verified: Verified) -> None:
    for consumer, key, field, expected, actual in verified.differences:
        typer.echo(f"{consumer} {key} {field}: expected {text(expected)}, actual {text(actual)}")
    table = Table("consumer", "rows", "differ", "parked", box=None)
    for name, rows in verified.checked.items():
        figures = (rows, verified.differing.get(name, 0), verified.parked.get(name, 0))
        table.add_row(name, *(f"{figure:,}" for figure in figures))
    for name in verified.parked.keys() - verified.checked.keys():
        table.add_row(name, "", "", f"{verified.parked[name]:,}")
    output.print(table, highlight=False)
    if verified.behind:
        output.print("The relay or a consumer is behind, so this may only be late: see `status`")


def _show_rebuilt(rebuilt: Mapping[str, Rebuilt]) -> None:
    table = Table("", "events", "events/s", "to the live one", "other columns", "behind at the switch", box=None)
    for name, each in rebuilt.items():
        table.add_row(
            name,
            f"{each.events:,}",
            f"{each.events_per_s:,.0f}",
            each.difference if each.identical else f"[red]{each.difference}[/red]",
            ", ".join(each.changed_columns),
            f"{each.behind:,} events, {1_000 * each.behind_s:,.0f} ms",
        )
    output.print(table, highlight=False)


def _relays(relays: list[dict[str, Any]] | str) -> RenderableType:
    if isinstance(relays, str):
        return Text(f"relay: not known: {relays}", "yellow")
    table = Table("relay", "state", "slot", "behind", "WAL kept", "until lost", box=None)
    for relay in relays:
        slot = relay["slot"] or {}
        sizes = (slot.get(name) for name in ("lag_bytes", "retained_bytes", "safe_bytes"))
        figures = ("" if size is None else f"{size / _MIB:,.1f} MiB" for size in sizes)
        reading = "missing" if not slot else "read" if slot["active"] else "not read"
        table.add_row(relay["connector"], relay["state"], f"{slot.get('wal_status', '')} {reading}".strip(), *figures)
    return table


def _consumers(consumers: list[dict[str, Any]] | str) -> RenderableType:
    if isinstance(consumers, str):
        return Text(f"consumers: not known: {consumers}", "yellow")
    figures = (Column(name, justify="right") for name in ("behind", "by", "parked"))
    table = Table(Column("consumer", no_wrap=True), *figures, "state", box=None)
    for each in consumers:
        stands = any(each[name] for name in ("ahead", "stopped", "stands", "unread"))
        style = "red" if stands else "yellow" if each["parked"] else "green"
        by = "?" if each["lag_s"] is None else f"{each['lag_s']:,.1f} s" if each["lag"] else ""
        numbers = (f"{each['lag']:,}", by, f"{each['parked']:,}")
        table.add_row(each["name"], *numbers, f"[{style}]{escape(each['state'])}[/{style}]")
    return table


def _due(due: list[dict[str, Any]] | str) -> RenderableType:
    if isinstance(due, str):
        return Text(f"deadlines and tasks: not known: {due}", "yellow")
    table = Table("due", "state", Column("number", justify="right"), "first", "error", box=None)
    for each in due:
        age_s = each["age_s"]
        first = f"{age_s:,.0f} s ago" if age_s >= 0 else f"in {-age_s:,.0f} s"
        name = f"{each['what']} {each['service']}.{each['name']}"
        table.add_row(name, each["state"], f"{each['number']:,}", first, escape(each["error"] or ""))
    return table
