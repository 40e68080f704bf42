"""What `verify` finds of those consumers, or lines of the books, that a test is about.

Everything is verified where programs die, and where money moves: it takes the longer, the more others have ordered.
"""

from collections.abc import Collection, Iterable
from time import sleep

from ops.barrier import Barrier
from ops.comparisons import Comparisons
from ops.states import Part
from ops.verify import PAUSE_S, Verified, compare


class _Only:
    """Some of what there is to compare."""

    def __init__(self, names: Collection[str]) -> None:
        self._comparisons, self._names = Comparisons(), names

    def parts(self, names: Collection[str] | None = None) -> Iterable[tuple[str, Iterable[Part]]]:
        return self._comparisons.parts(self._names if names is None else names)


def compared(*names: str) -> Verified:
    """As `verify` does it; none of the names is misspelt."""
    found = compare(_Only(names), Barrier, lambda: sleep(PAUSE_S))
    assert found.checked.keys() == {*names}
    return found
