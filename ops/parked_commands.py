"""`python -m ops parked COMMAND`, and `marea parked COMMAND`: see docs/parked.md."""

import json
import logging
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from ops.options import Json
from ops.parked import SHOWN_BYTES, Aggregate, Desk, NotCarriedOut, NotParked, Outcome, Shown
from ops.positions import UNANSWERED, said

_T = TypeVar("_T")

#: Characters of an event's data that are shown.
_SHOWN = 4_000

output = Console()
errors = Console(stderr=True)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Look at events that could not be applied, have them tried again, or give them up: see docs/parked.md.",
)
Consumer = Annotated[str, typer.Argument(help="A view, table or reaction: view.order, or just order.")]
AnyConsumer = Annotated[str | None, typer.Argument(help="A view, table or reaction; all when left out.")]
Key = Annotated[str, typer.Argument(help="The aggregate's id, as `list` names it.")]
OneKey = Annotated[str | None, typer.Argument(help="The aggregate's id, as `list` names it.")]
Every = Annotated[bool, typer.Option("--all", help="All aggregates of the consumer.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for whoever looks at it later.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]


@app.command(name="list")
def list_parked(consumer: AnyConsumer = None, as_json: Json = False) -> None:
    """List what is parked, by consumer and aggregate."""
    found = _at_desk(lambda desk: desk.aggregates([desk.find(consumer)] if consumer else None))
    if as_json:
        typer.echo(json.dumps([one.as_json() for one in found]))
        return
    if not found:
        typer.echo("Nothing is parked.")
        return
    events = Column("events", justify="right")
    table = Table("consumer", "key", events, "since", "cause", "reason of the first", box=None)
    for one in found:
        head = one.head
        cells = (one.lane.consumer, one.key, f"{len(one.events):,}", f"{head.since:%F %T}", head.cause, head.reason)
        table.add_row(*map(escape, cells))
    output.print(table, highlight=False)


@app.command()
def dropped(consumer: AnyConsumer = None, as_json: Json = False) -> None:
    """List what has been dropped, when and why."""
    found = _at_desk(lambda desk: desk.dropped([desk.find(consumer)] if consumer else None))
    if as_json:
        facts = [{**lane._asdict(), "offset": offset, **fact._asdict()} for lane, offset, fact in found]
        typer.echo(json.dumps(facts, default=str))
        return
    for lane, offset, fact in found:
        typer.echo(f"{lane.consumer}, partition {lane.partition}, offset {offset}: {fact.reason} ({fact.at:%F %T})")
    if not found:
        typer.echo("Nothing has been dropped.")


@app.command()
def show(consumer: Consumer, key: Key, as_json: Json = False) -> None:
    """Show an aggregate's parked events, and what their records say."""
    found = _at_desk(lambda desk: desk.show(desk.aggregate(desk.find(consumer), key)))
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


@app.command()
def retry(
    consumer: Consumer,
    key: OneKey = None,
    every: Every = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Have parked events tried again, in order; exit 1 if some still fail."""

    def work(desk: Desk) -> Sequence[Outcome]:
        wanted = _chosen(desk, consumer, key, every=every)
        return [desk.rehearse_retry(one) for one in wanted] if dry_run else desk.retry(wanted)

    _tell(_at_desk(work), dry_run=dry_run, as_json=as_json)


@app.command()
def drop(
    consumer: Consumer,
    reason: Reason,
    key: OneKey = None,
    every: Every = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Give up the event that the others of its aggregate wait for, and have these applied; exit 1 if they still fail."""

    def work(desk: Desk) -> Sequence[Outcome]:
        wanted = _chosen(desk, consumer, key, every=every)
        return [desk.rehearse_drop(one) for one in wanted] if dry_run else desk.drop(wanted, _reason(reason))

    _tell(_at_desk(work), dry_run=dry_run, as_json=as_json)


@app.command(name="pass")
def pass_by(consumer: Consumer, reason: Reason, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Let a consumer that has stopped go on: what its code fails on stays parked, and counts no longer."""

    def work(desk: Desk) -> list[int]:
        name = desk.find(consumer)
        return desk.stopped(name) if dry_run else desk.pass_by(name, _reason(reason))

    partitions = _at_desk(work)
    if as_json:
        typer.echo(json.dumps({"partitions": partitions}))
        return
    goes_on = "would go on" if dry_run else "goes on"
    typer.echo(f"{consumer} {goes_on} in partitions {', '.join(map(str, partitions))}; what it failed on stays parked")


def _chosen(desk: Desk, consumer: str, key: str | None, *, every: bool) -> list[Aggregate]:
    if every == (key is not None):
        _fail("say which aggregate's events, or --all of the consumer's")
    name = desk.find(consumer)
    return desk.aggregates([name]) if key is None else [desk.aggregate(name, key)]


def _at_desk(work: Callable[[Desk], _T]) -> _T:
    # What the feed's code says of a rehearsal is told by its outcome.
    logging.getLogger("streams.engine").setLevel(logging.ERROR)
    try:
        return work(Desk())
    except (NotParked, NotCarriedOut) as error:
        _fail(str(error))
    except UNANSWERED as error:
        _fail(said(error))


def _fail(text: str) -> NoReturn:
    errors.print(f"marea: {text}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def _tell(outcomes: Sequence[Outcome], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([vars(one) for one in outcomes]))
    elif not outcomes:
        typer.echo("Nothing is parked.")
    else:
        for one in outcomes:
            typer.echo(f"{one.consumer} {one.key}: {'would have ' if dry_run else ''}{one.sentence}")
    if any(one.left for one in outcomes):
        raise typer.Exit(1)


def _reason(given: str) -> str:
    return given.strip() or _fail("--reason is empty: say why, for whoever looks at it later")


def _content(shown: Shown) -> str:
    if shown.data is None:
        more = f" and {shown.size - SHOWN_BYTES:,} bytes more" if shown.size > SHOWN_BYTES else ""
        return f"{shown.value_hex or 'no value'}{more}"
    text = json.dumps(shown.data, default=str, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text):,} characters)"


def _as_json(shown: Shown) -> dict[str, Any]:
    parked = shown.parked._asdict()
    return {**parked, "headers": shown.headers, "data": shown.data, "value_hex": shown.value_hex, "size": shown.size}
