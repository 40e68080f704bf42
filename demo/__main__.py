"""`python -m demo`: the demo on any stack that is up, told by settings alone where it is."""

import json
from time import monotonic
from typing import Annotated

import typer
from rich.console import Console

from demo.show import print_summary, show


def main(
    orders: Annotated[int, typer.Option("--orders", min=1, help="The first so many baskets.")] = 2_000,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one line of JSON.")] = False,  # noqa: FBT002  a flag
) -> None:
    """Place real baskets, verify, rebuild everything; exit 1 if a view or table is not proven."""
    shown = show(orders, monotonic())
    if as_json:
        typer.echo(json.dumps(shown.as_json()))
    else:
        print_summary(Console(), shown)
    if not shown.is_proven:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
