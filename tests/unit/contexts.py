"""Causes for tests of rules: a clock that stands still, and ids that count."""

from itertools import count

from kernel.context import Context
from tests.events import START


def context() -> Context:
    """A context whose events have the ids event-1, event-2, ..."""
    numbers = count(1)
    return Context(START, "00-" + "a" * 32 + "-" + "b" * 16 + "-01", lambda: f"event-{next(numbers)}")
