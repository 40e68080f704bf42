"""`python -m ops COMMAND`: what production needs, told where things are by settings alone; see ARCHITECTURE.md."""

import typer

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
    """Keep house until told to end: outbox partitions, connectors and slots."""
    from ops import keep

    keep.keep()


if __name__ == "__main__":
    cli(prog_name="python -m ops")
