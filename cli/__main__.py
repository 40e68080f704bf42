"""The command line: `marea COMMAND`. Each command imports what it needs itself, so that none waits for the others'."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from local.layout import DEFAULT_PORT, PARTITIONS, PORTS, BadPort, Layout
from ops.options import AcceptDifferences, Check, Json, OnlyChanged, Processes, Rebuildable

if TYPE_CHECKING:
    from local.stack import Stack

#: The benchmark and chaos empty their stacks: they are never the one that somebody works with.
BENCH_PORTS_ABOVE = 2_000
CHAOS_PORTS_ABOVE = 4_000

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Port = Annotated[
    int,
    typer.Option(
        "--port",
        envvar="MAREA_PORT",
        help=f"The stack's base port: it uses this one and the next {PORTS - 1}.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        max=PARTITIONS,
        help="How many Faust workers there are from now on, until chosen anew; 1 at first.",
    ),
]
Profile = Annotated[
    Literal["core", "full"] | None,
    typer.Option(
        "--profile",
        help="core: what carries orders. full: with Prometheus, Alertmanager and who reads all stores. Kept; core at first.",
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="Just try it: windows too short for figures.")]


@cli.command()
def up(workers: Workers = None, profile: Profile = None, port: Port = DEFAULT_PORT) -> None:
    """Start the stack, or bring what runs to what the code and the settings say now."""
    from cli import stack as console

    console.up(_stack(port), workers, profile)


@cli.command()
def restart(
    name: Annotated[
        str | None, typer.Argument(help="A program, as `status` names it; all when left out.")
    ] = None,
    port: Port = DEFAULT_PORT,
) -> None:
    """Stop a program, or all, and bring the stack up."""
    from cli import stack as console

    console.restart(_stack(port), name)


@cli.command()
def down(port: Port = DEFAULT_PORT) -> None:
    """Stop the stack, and keep its data."""
    from cli import stack as console

    console.down(_stack(port))


@cli.command()
def reset(port: Port = DEFAULT_PORT) -> None:
    """Stop the stack, and delete its data."""
    from cli import stack as console

    console.reset(_stack(port))


@cli.command()
def status(
    check: Check = False,
    port: Port = DEFAULT_PORT,
    as_json: Json = False,
) -> None:
    """Show whether anything stands still, every program, the relay, and what is parked."""
    from cli import stack as console

    console.status(_stack(port), check=check, as_json=as_json)


@cli.command()
def top(port: Port = DEFAULT_PORT) -> None:
    """Show what `status` shows, live, until Ctrl-C."""
    from cli import stack as console

    console.top(_stack(port))


@cli.command()
def logs(
    name: Annotated[str, typer.Argument(help="A program, as `status` names it.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the log grows.")] = False,
    port: Port = DEFAULT_PORT,
) -> None:
    """Print a program's log."""
    from cli import stack as console

    console.logs(_stack(port), name, follow=follow)


@cli.command()
def load(
    orders: Annotated[int, typer.Option("--orders", min=1, help="The first so many baskets.")] = 2_000,
    source: Annotated[
        Literal["journey"], typer.Option("--source", help="Where baskets come from.")
    ] = "journey",
    rate: Annotated[str, typer.Option("--rate", help="Orders a second, or max.")] = "max",
    port: Port = DEFAULT_PORT,
    as_json: Json = False,
) -> None:
    """Place real baskets through the HTTP API, and wait for what becomes of them."""
    from cli import operations as console

    console.load(_stack(port), orders, rate, as_json=as_json)


@cli.command()
def rebuild(
    name: Rebuildable = "all",
    workers: Processes = 2,
    only_changed: OnlyChanged = False,
    accept_differences: AcceptDifferences = False,
    port: Port = DEFAULT_PORT,
    as_json: Json = False,
) -> None:
    """Make a view or table anew from its topic, beside the live one; compare them; switch readers over."""
    from cli import operations as console

    console.rebuild(
        _stack(port),
        name,
        workers,
        only_changed=only_changed,
        accept_differences=accept_differences,
        as_json=as_json,
    )


@cli.command()
def verify(port: Port = DEFAULT_PORT, as_json: Json = False) -> None:
    """Compare PostgreSQL with every view and table; exit 1 if anything differs."""
    from cli import operations as console

    console.verify(_stack(port), as_json=as_json)


@cli.command()
def demo(
    orders: Annotated[int, typer.Option("--orders", min=1, help="The first so many baskets.")] = 2_000,
    once: Annotated[bool, typer.Option("--once", help="End, instead of staying up until Ctrl-C.")] = False,
    port: Port = DEFAULT_PORT,
    as_json: Json = False,
) -> None:
    """Show the whole path: start, place real baskets, verify, rebuild everything."""
    from cli import operations as console

    console.demo(_stack(port), orders, once=once, as_json=as_json)


@cli.command()
def dashboards(
    png: Annotated[Path, typer.Option("--png", help="The folder that gets a picture of each.", file_okay=False)],
    since: Annotated[
        str | None, typer.Option("--since", help="Such as now-5m; when left out, as far back as each shows at first.")
    ] = None,
    port: Port = DEFAULT_PORT,
) -> None:
    """Draw the dashboards from what their queries give on the running stack."""
    from cli import operations as console

    console.dashboards(_stack(port), png, since)


benchmarks = typer.Typer(
    no_args_is_help=True, help="Measure, on a stack of its own, 2000 ports above the usual one."
)
cli.add_typer(benchmarks, name="bench")


@benchmarks.command()
def path(quick: Quick = False, port: Port = DEFAULT_PORT, as_json: Json = False) -> None:
    """Measure how fast the path is, and what CPU time each component takes for it."""
    from cli import benchmarks as console

    console.path(port + BENCH_PORTS_ABOVE, quick=quick, as_json=as_json)


@benchmarks.command()
def against(
    commit: Annotated[
        str, typer.Argument(help="Another commit of this repository, which is checked out beside.")
    ],
    runs: Annotated[int, typer.Option("--runs", min=1, help="Runs of each, in turns.")] = 3,
    quick: Quick = False,
    port: Port = DEFAULT_PORT,
    as_json: Json = False,
) -> None:
    """Measure the path in turns with another commit's own stack; print this checkout's figures over the other's."""
    from cli import benchmarks as console

    console.against(commit, port + BENCH_PORTS_ABOVE, runs, quick=quick, as_json=as_json)


@benchmarks.command()
def consumers(quick: Quick = False, port: Port = DEFAULT_PORT, as_json: Json = False) -> None:
    """Measure what one more view costs."""
    from cli import benchmarks as console

    console.consumers(port + BENCH_PORTS_ABOVE, quick=quick, as_json=as_json)


@benchmarks.command()
def peers(quick: Quick = False, port: Port = DEFAULT_PORT, as_json: Json = False) -> None:
    """Measure Marea beside other stream processors: the same topic, fold and sink, in one run."""
    from cli import benchmarks as console

    console.peers(port + BENCH_PORTS_ABOVE, quick=quick, as_json=as_json)


@benchmarks.command()
def reads(quick: Quick = False, port: Port = DEFAULT_PORT, as_json: Json = False) -> None:
    """Measure what reading costs, beside the same from PostgreSQL by plain Flask; needs wrk."""
    from cli import benchmarks as console

    console.reads(port + BENCH_PORTS_ABOVE, quick=quick, as_json=as_json)


@benchmarks.command()
def streams(quick: Quick = False, port: Port = DEFAULT_PORT, as_json: Json = False) -> None:
    """Measure how soon 2,000 listeners know of a change, and what CPU time it takes to tell them."""
    from cli import benchmarks as console

    console.streams(port + BENCH_PORTS_ABOVE, quick=quick, as_json=as_json)


@benchmarks.command(name="dashboards")
def bench_dashboards(quick: Quick = False, port: Port = DEFAULT_PORT, as_json: Json = False) -> None:
    """Measure how long each panel's query takes over ten million order lines."""
    from cli import benchmarks as console

    console.dashboards(port + BENCH_PORTS_ABOVE, quick=quick, as_json=as_json)


@benchmarks.command()
def deadlines(quick: Quick = False, port: Port = DEFAULT_PORT, as_json: Json = False) -> None:
    """Measure how long after a deadline falls due its command is committed."""
    from cli import benchmarks as console

    console.deadlines(port + BENCH_PORTS_ABOVE, quick=quick, as_json=as_json)


@benchmarks.command()
def steady(
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, help="For how long orders are placed.")] = 10.0,
    quick: Quick = False,
    port: Port = DEFAULT_PORT,
    as_json: Json = False,
) -> None:
    """Hold 1,000 orders a minute; measure how soon each is confirmed, and what grows meanwhile."""
    from cli import benchmarks as console

    console.steady(port + BENCH_PORTS_ABOVE, minutes, quick=quick, as_json=as_json)


checks = typer.Typer(no_args_is_help=True, help="Checks that take long, and are not part of `test`.")
cli.add_typer(checks, name="check")


@checks.command()
def compose() -> None:
    """Run the stack in containers, on a Docker engine of its own: see docs/compose.md. Needs root, and Go."""
    from cli import checks as console

    console.compose()


@cli.command()
def chaos(
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, help="For how long programs are hit.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="Says what is hit when: the same again with the same seed.")] = 1,
    here: Annotated[
        bool, typer.Option("--here", help="On the running stack, instead of one of its own 4000 ports above.")
    ] = False,
    model: Annotated[
        int, typer.Option("--model", min=0, help="Instead: so many random lives of a shop in memory, without a stack.")
    ] = 0,
    port: Port = DEFAULT_PORT,
    as_json: Json = False,
) -> None:
    """Kill and stop programs at random while orders are placed; exit 1 unless all comes right by itself."""
    from cli import chaos as console

    if model:
        console.model(model)
        return
    stack = _stack(port if here else port + CHAOS_PORTS_ABOVE)
    console.chaos(stack, minutes, seed, here=here, as_json=as_json)


@cli.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def parked(context: typer.Context, port: Port = DEFAULT_PORT) -> None:
    """Look at events that could not be applied, have them tried again, or give them up: list, show, ..."""
    from cli import operations as console

    console.parked(_stack(port), context.args)


@cli.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def test(context: typer.Context) -> None:
    """Run the linters, the type checker and every test; further arguments go to pytest."""
    from cli import checks

    checks.run(context.args)


def _stack(port: int) -> "Stack":
    from local.stack import Stack

    try:
        return Stack(Layout(port))
    except BadPort as error:
        typer.echo(f"marea: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    cli(prog_name="marea")
