"""Progress: a bar with live figures on a terminal, now and then a line elsewhere.

On standard error, so that standard output is the result alone.
"""

from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

errors = Console(stderr=True)

#: Seconds between two lines where there is no terminal.
LINE_S = 5.0


class Bar:
    """One thing under way, for a `with`. How much it is in all may turn out later."""

    def __init__(self, what: str, total: int = 0) -> None:
        self._what, self._total = what, total
        self._started = self._said = monotonic()
        self._done = 0
        self._progress = Progress(
            TextColumn("{task.description:<26}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=errors,
            refresh_per_second=4,
            disable=not errors.is_terminal,
        )
        self._task = self._progress.add_task(what, total=total, figures="")

    def update(self, done: int, figures: str = "", total: int | None = None) -> None:
        """So many are done."""
        self._done = done
        self._total = self._total if total is None else total
        now = monotonic()
        text = f"{done / max(now - self._started, 0.001):,.0f}/s {figures}"
        self._progress.update(self._task, completed=done, total=self._total, figures=text)
        if not errors.is_terminal and now - self._said > LINE_S:
            self._said = now
            self._say(text)

    def _say(self, text: str) -> None:
        errors.print(f"{self._what}: {self._done}/{self._total} {text}", highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if not errors.is_terminal:
            took_s = monotonic() - self._started
            self._say(f"{self._done / max(took_s, 0.001):,.0f}/s, {took_s:.1f} s")
