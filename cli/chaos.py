"""What `marea chaos` prints: what is hit as it is hit, then the verdict."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict

import typer
from rich.console import Console

from chaos.run import Outcome, run
from demo.placing import LoadFailed
from local.layout import ROOT
from local.program import PortTaken
from local.stack import NotStarted, Stack
from ops.states import CannotVerify

#: Work goes from one worker to the other when one is hit.
WORKERS = 2
_SHOWN = 20

output = Console()
errors = Console(stderr=True)


def chaos(stack: Stack, minutes: float, seed: int, *, here: bool, as_json: bool) -> None:
    """Hits the programs of a stack that runs, or of one that is empty before and afterwards; exits 1 unless proven."""
    os.environ.update(stack.layout.environment)
    outcome = _catching(seed, lambda: (_here if here else _apart)(stack, seed, 60 * minutes))
    if as_json:
        typer.echo(json.dumps({**asdict(outcome), "passed": outcome.passed}, default=str))
    else:
        _print(outcome)
    if not outcome.passed:
        raise typer.Exit(1)
    if not here:
        stack.reset()


def model(lives: int) -> None:
    """Runs so many random lives of shops in memory; exits 1 unless all end well."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "auto", "tests/unit/test_lives.py"]
    ended = subprocess.run(command, cwd=ROOT, env={**os.environ, "MAREA_LIVES": str(lives)}, check=False)
    if ended.returncode:
        raise typer.Exit(1)


def _here(stack: Stack, seed: int, seconds: float) -> Outcome:
    if not stack.supervisor.is_running():
        raise NotStarted(f"the stack on port {stack.layout.port} is not up: start it with ./marea up")
    return run(stack, seed, seconds, _say)


def _apart(stack: Stack, seed: int, seconds: float) -> Outcome:
    """What a failed run leaves stays up, to be looked at."""
    port = stack.layout.port
    errors.print(f"On port {port}; if it fails, look with ./marea status --port {port}, and end it with reset.")
    stack.reset()
    stack.use_workers(WORKERS)
    stack.up()
    return run(stack, seed, seconds, _say)


def _say(at_s: float, what: str) -> None:
    errors.print(f"{at_s:6.1f} s  {what}", highlight=False, soft_wrap=True)


def _print(outcome: Outcome) -> None:
    became = ", ".join(f"{count:,} {status}" for status, count in sorted(outcome.statuses.items()))
    output.print(
        f"{outcome.accepted:,} orders accepted; {became}; all final {outcome.settled_s:.1f} s after the last strike",
        highlight=False,
    )
    for reason, count in outcome.refused.items():
        output.print(f"[red]{count:,} orders were refused: {reason}[/red]", highlight=False)
    if outcome.unanswered:
        output.print(f"[red]{outcome.unanswered:,} orders were placed, and nobody was told[/red]", highlight=False)
    for consumer, count in outcome.parked.items():
        output.print(f"[red]{consumer}: {count:,} events were parked[/red]", highlight=False)
    for each in outcome.differences[:_SHOWN]:
        output.print(f"{each.consumer} {each.key} {each.field}: expected {each.expected}, actual {each.actual}")
    for consumer, count in outcome.differing.items():
        output.print(f"[red]{consumer}: {count:,} rows differ[/red]", highlight=False)
    verdict = "[green]proven[/green]: nothing lost, doubled or left behind" if outcome.passed else "[red]failed[/red]"
    output.print(f"{verdict}, with seed {outcome.seed}", highlight=False)


def _catching(seed: int, work: Callable[[], Outcome]) -> Outcome:
    """What is expected to go wrong ends in a sentence and exit code 1; anything else is a fault of ours."""
    try:
        return work()
    except (LoadFailed, NotStarted, PortTaken, CannotVerify) as error:
        errors.print(f"marea: with seed {seed}: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
