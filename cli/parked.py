"""What `marea parked` prints: see docs/parked.md."""

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import typer
from rich.markup import escape
from rich.table import Column, Table

from cli.operations import do, fail, output
from local.stack import Stack
from ops.parked import SHOWN_BYTES, Aggregate, Desk, Outcome, Shown

_T = TypeVar("_T")

#: Characters of an event's data that are shown.
_SHOWN = 4_000


def listed(stack: Stack, consumer: str | None, *, as_json: bool) -> None:
    """What is parked, by consumer and aggregate."""

    def look(desk: Desk) -> list[Aggregate]:
        return desk.aggregates([desk.find(consumer)] if consumer else None)

    found = _at_desk(stack, look)
    if as_json:
        typer.echo(json.dumps([one.as_json() for one in found]))
        return
    if not found:
        output.print("Nothing is parked.")
        return
    events = Column("events", justify="right")
    table = Table("consumer", "key", events, "since", "cause", "reason of the first", box=None)
    for one in found:
        head = one.head
        cells = (one.lane.consumer, one.key, f"{len(one.events):,}", f"{head.since:%F %T}", head.cause, head.reason)
        table.add_row(*map(escape, cells))
    output.print(table, highlight=False)


def show(stack: Stack, consumer: str, key: str, *, as_json: bool) -> None:
    """What an aggregate's parked events say."""
    found = _at_desk(stack, lambda desk: desk.show(desk.aggregate(desk.find(consumer), key)))
    if as_json:
        typer.echo(json.dumps([_as_json(one) for one in found], default=str))
        return
    for one in found:
        parked = one.parked
        typer.echo(f"offset {parked.offset}, version {parked.version or 'not said'}, parked {parked.since:%F %T}")
        typer.echo(f"  {parked.cause}: {parked.reason}")
        for name, value in one.headers.items():
            typer.echo(f"  {name}: {value!r}")
        typer.echo(f"  {_content(one)}")


def retry(
    stack: Stack, consumer: str, key: str | None, *, every: bool, dry_run: bool, as_json: bool
) -> None:
    """Has parked events tried again; exits 1 if some still fail."""
    if every == (key is not None):
        fail("say which aggregate's events, or --all of the consumer's")

    def work(desk: Desk) -> Sequence[Outcome]:
        name = desk.find(consumer)
        wanted = [desk.aggregate(name, key)] if key is not None else desk.aggregates([name])
        return [desk.rehearse_retry(one) for one in wanted] if dry_run else desk.retry(wanted)

    _tell(_at_desk(stack, work), dry_run=dry_run, as_json=as_json)


def drop(stack: Stack, consumer: str, key: str, reason: str, *, dry_run: bool, as_json: bool) -> None:
    """Drops the first parked event of an aggregate; exits 1 if what waits behind it still fails."""

    def work(desk: Desk) -> Sequence[Outcome]:
        wanted = desk.aggregate(desk.find(consumer), key)
        return [desk.rehearse_drop(wanted)] if dry_run else desk.drop(wanted, _said(reason))

    _tell(_at_desk(stack, work), dry_run=dry_run, as_json=as_json)


def pass_by(stack: Stack, consumer: str, reason: str, *, as_json: bool) -> None:
    """Lets a consumer that has stopped go past what it fails on."""
    partitions = _at_desk(stack, lambda desk: desk.pass_by(desk.find(consumer), _said(reason)))
    if as_json:
        typer.echo(json.dumps({"partitions": partitions}))
    else:
        typer.echo(f"{consumer} goes on in partitions {', '.join(map(str, partitions))}; what it failed on stays parked")


def _at_desk(stack: Stack, work: Callable[[Desk], _T]) -> _T:
    # What the feed's code says of a rehearsal is told by its outcome.
    logging.getLogger("streams.engine").setLevel(logging.ERROR)
    return do(stack, lambda: work(Desk()))


def _tell(outcomes: Sequence[Outcome], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([vars(one) for one in outcomes]))
    for one in () if as_json else outcomes:
        typer.echo(f"{one.consumer} {one.key}: {'would have ' if dry_run else ''}{one.sentence}")
    if not outcomes and not as_json:
        typer.echo("Nothing is parked.")
    if any(one.left for one in outcomes):
        raise typer.Exit(1)


def _said(reason: str) -> str:
    return reason.strip() or fail("--reason is empty: say why, for whoever looks at it later")


def _content(shown: Shown) -> str:
    if shown.data is None:
        more = f" and {shown.size - SHOWN_BYTES:,} bytes more" if shown.size > SHOWN_BYTES else ""
        return f"{shown.value_hex or 'no value'}{more}"
    text = json.dumps(shown.data, default=str, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text):,} characters)"


def _as_json(shown: Shown) -> dict[str, Any]:
    parked = shown.parked._asdict()
    return {**parked, "headers": shown.headers, "data": shown.data, "value_hex": shown.value_hex, "size": shown.size}
