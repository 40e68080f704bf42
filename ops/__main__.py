"""`python -m ops COMMAND`: what production needs, told where things are by settings alone; see ARCHITECTURE.md."""

from typing import Annotated, NoReturn

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

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
def status(
    check: Annotated[bool, typer.Option("--check", help="Exit 1 if anything stands still or needs attention.")] = False,
    as_json: Json = False,
) -> None:
    """Show whether anything stands still, the relays, how far every consumer is, and what is parked."""
    from ops import console

    console.status(check=check, as_json=as_json)


@cli.command()
def verify(as_json: Json = False) -> None:
    """Compare PostgreSQL with every view and table; exit 1 if anything differs."""
    from ops import console
    from ops.comparisons import CannotVerify
    from ops.positions import UNANSWERED, said

    try:
        console.verify(as_json=as_json)
    except CannotVerify as error:
        _fail(str(error))
    except UNANSWERED as error:
        _fail(f"something that this needs does not answer: {said(error)}")


@cli.command()
def rebuild(
    name: Annotated[str, typer.Argument(help="A view or table, or all.")] = "all",
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that replay.")] = 2,
    only_changed: Annotated[
        bool, typer.Option("--changed", help="Those that other code has written to; they may differ.")
    ] = False,
    accept_differences: Annotated[bool, typer.Option("--accept-differences", help="Go live even if it differs.")] = False,
) -> None:
    """Make views and tables anew from their topics, beside the live ones; exit 1 if one differs, and did not go live."""
    from ops.rebuild import RebuildFailed, chosen, rebuild

    accepted = accept_differences or only_changed
    refused = []
    try:
        for each in chosen(name, only_changed=only_changed):
            rebuilt = rebuild(each, workers, accept_differences=accepted)
            typer.echo(f"{each}: {rebuilt}")
            if not (rebuilt.identical or accepted):
                refused.append(each)
    except RebuildFailed as error:
        _fail(str(error))
    if refused:
        _fail(f"not identical, so not live: {', '.join(refused)}")


def _fail(text: str) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    cli(prog_name="python -m ops")
