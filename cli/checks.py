"""`marea test`: every check but those of `marea check`, which take long, cheapest first.

The tests come last, so that their summary ends the output.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

import typer
from rich.console import Console

from local.layout import ROOT

_LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
#: Tests wait more than they work. Each process has a stack of its own, so one more costs 3 GiB.
_PROCESSES = 2
#: A file's tests share what they set up; files go to whoever is free, in the order in which tests/conftest.py puts them.
_IN_PROCESSES = ("-n", str(_PROCESSES), "--dist", "loadfile", "--no-loadscope-reorder")
_CHECKS = {
    "ruff": ("-m", "ruff", "check", "."),
    "mypy": ("-m", "mypy", "."),
    "imports": ("-c", _LINT_IMPORTS),
    "pytest": ("-m", "pytest", *_IN_PROCESSES),
}


def run(pytest_arguments: Sequence[str]) -> None:
    """Runs all of them, whatever becomes of the first; exits 1 if any failed."""
    output = Console()
    passed = True
    for name, command in _CHECKS.items():
        output.rule(name if passed else f"{name} [red](a check above failed)")
        started_at = time.monotonic()
        arguments = pytest_arguments if name == "pytest" else ()
        # A check may print a lot: the order on the screen has to be that of the checks.
        sys.stdout.flush()
        status = subprocess.run([sys.executable, *command, *arguments], cwd=ROOT, check=False).returncode
        passed &= status == 0
        if name != "pytest":
            outcome = "[green]passed[/green]" if status == 0 else f"[red]failed[/red] (exit status {status})"
            output.print(f"{name}: {outcome} in {time.monotonic() - started_at:.0f} s", highlight=False)
    if not passed:
        raise typer.Exit(1)


def compose() -> None:
    """Runs the stack in containers; exits as pytest does. What goes wrong first ends it: the tests build on each other."""
    if os.geteuid() != 0 or not shutil.which("go"):
        typer.echo("marea: the check runs a Docker engine, and builds Compose: it needs root, and Go (go.dev)", err=True)
        raise typer.Exit(1)
    command = [sys.executable, "-m", "pytest", "--exitfirst", "tests/compose"]
    raise typer.Exit(subprocess.run(command, cwd=ROOT, check=False).returncode)
