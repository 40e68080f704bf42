"""What is compared between two stacks that were measured alternately: ratios, and how far they spread."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TypedDict


class Ratio(TypedDict):
    """Ours over theirs: the median of all pairs of runs, the lowest and the highest."""

    ratio: float
    low: float
    high: float


#: One run's figures, by name.
Figures = Mapping[str, float]


def ratios(pairs: Sequence[tuple[Figures, Figures]]) -> dict[str, Ratio]:
    """By name, from pairs of our and their figures. A pair was measured one right after the other.

    Only pairs are compared: the machine's speed changes from one pair to the next. A name that one of a pair's runs
    did not measure is left out.
    """
    names = [name for name in pairs[0][0] if all(name in ours and name in theirs for ours, theirs in pairs)]
    return {name: _ratio([ours[name] / theirs[name] for ours, theirs in pairs]) for name in names}


def _ratio(values: Sequence[float]) -> Ratio:
    return {"ratio": round(median(values), 3), "low": round(min(values), 3), "high": round(max(values), 3)}
