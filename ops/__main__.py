"""`python -m ops COMMAND`: what production needs, told where things are by settings alone; see ARCHITECTURE.md."""

from collections.abc import Callable
from typing import NoReturn

import typer

from ops.options import AcceptDifferences, Check, Json, OnlyChanged, Processes, Rebuildable

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@cli.command()
def migrate() -> None:
    """Make or bring up to date every service's roles, schema, tables and publication."""
    from ops import migrate

    migrate.migrate()


@cli.command()
def topics() -> None:
    """Make the topics that are missing."""
    from ops import topics

    topics.make_topics()


@cli.command()
def starts() -> None:
    """Note where reactions begin that start now, unless it is noted."""
    from ops import starts

    starts.note_starts()


@cli.command()
def schemas() -> None:
    """Register the events' schemas; fails when a changed one would break readers."""
    from kernel import settings
    from schemas import registry

    registry.register(settings.registry_url())


@cli.command()
def relay() -> None:
    """Register the connector of every database, and wait until it follows the log."""
    from ops import relay

    relay.register_connectors()


@cli.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def parked(context: typer.Context) -> None:
    """Look at events that could not be applied, have them tried again, or give them up: see docs/parked.md."""
    from ops.parked_commands import app

    app(context.args, prog_name="python -m ops parked")


@cli.command()
def keep() -> None:
    """Keep house until told to end: outbox partitions, connectors, slots, what rebuilds have left."""
    from ops import keep

    keep.keep()


@cli.command()
def observe() -> None:
    """Read all stores, Kafka, PostgreSQL and Connect until told to end, and give Prometheus what is found."""
    from ops import observe

    observe.observe()


@cli.command()
def status(check: Check = False, as_json: Json = False) -> None:
    """Show whether anything stands still, the relays, how far every consumer is, and what is parked."""
    from ops import console

    console.status(check=check, as_json=as_json)


@cli.command()
def top() -> None:
    """Show what `status` shows, live, until Ctrl-C."""
    from ops import console

    console.top()


@cli.command()
def verify(as_json: Json = False) -> None:
    """Compare PostgreSQL with every view and table; exit 1 if anything differs."""
    from ops import console

    _catching(lambda: console.verify(as_json=as_json))


@cli.command()
def rebuild(
    name: Rebuildable = "all",
    workers: Processes = 2,
    only_changed: OnlyChanged = False,
    accept_differences: AcceptDifferences = False,
    as_json: Json = False,
) -> None:
    """Make views and tables anew from their topics, beside the live ones; exit 1 if one differs, and did not go live."""
    from ops import console

    _catching(
        lambda: console.rebuild(
            name, workers, only_changed=only_changed, accept_differences=accept_differences, as_json=as_json
        )
    )


def _catching(work: Callable[[], None]) -> None:
    from ops.positions import UNANSWERED, said
    from ops.rebuild import RebuildFailed
    from ops.states import CannotVerify

    try:
        work()
    except (CannotVerify, RebuildFailed) as error:
        _fail(str(error))
    except UNANSWERED as error:
        _fail(f"something that this needs does not answer: {said(error)}")


def _fail(text: str) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    cli(prog_name="python -m ops")
