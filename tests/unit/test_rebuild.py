"""A rebuild follows live for as long as it comes closer."""

from collections.abc import Iterator
from itertools import count
from typing import Any, cast

import pytest

from ops import rebuild
from ops.rebuild import CLOSE, RebuildFailed


class Following:
    """A replay that reaches what it is told, while the live generation moves on as given."""

    def __init__(self, positions: Iterator[int]) -> None:
        self._positions = positions
        self.reached = 0

    def live_positions(self) -> dict[int, int]:
        return {0: next(self._positions)}

    def to(self, ends: dict[int, int]) -> None:
        self.reached = ends[0]


def catch_up(positions: Iterator[int]) -> int:
    following = Following(positions)
    both = cast("Any", following)
    return rebuild._catch_up(both, both)[0]  # noqa: SLF001


def test_it_switches_once_live_is_close() -> None:
    assert catch_up(iter([10_000, 15_000, 15_000, 17_000, 17_000, 17_000 + CLOSE])) == 17_000


def test_it_gives_up_when_live_stays_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "PATIENCE_S", 0.01)
    with pytest.raises(RebuildFailed, match="workers are faster than the rebuild: it is 1,000 events behind"):
        catch_up(count(0, 1_000))
