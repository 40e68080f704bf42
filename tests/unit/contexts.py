"""Causes for tests of rules: a clock that stands still, and ids that count."""

from itertools import count

from kernel.context import Cause
from tests.events import START


def cause() -> Cause:
    """A cause whose events have the ids event-1, event-2, ..."""
    numbers = count(1)
    return Cause(START, "00-" + "a" * 32 + "-" + "b" * 16 + "-01", lambda: f"event-{next(numbers)}")
