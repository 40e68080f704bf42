"""Options that commands of `python -m ops` and of `marea` have in common; importing them costs nothing."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Check = Annotated[bool, typer.Option("--check", help="Exit 1 if anything stands still or needs attention.")]
Rebuildable = Annotated[str, typer.Argument(help="A view or table, or all.")]
Processes = Annotated[int, typer.Option("--workers", min=1, help="Processes that replay.")]
OnlyChanged = Annotated[bool, typer.Option("--changed", help="Those that other code has written to; they may differ.")]
AcceptDifferences = Annotated[
    bool, typer.Option("--accept-differences", help="Go live even if it differs: the fold has changed.")
]
