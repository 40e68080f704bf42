"""Indexes of views: where rows are found beside their keys, in which order.

A row has an entry in an index for each of its sort keys. Entries are texts, in order of their bytes:

    customer␀ada␀2026-01-01T12:00:00.000000Z␀order-1

is the entry in the index `customer` of the row `order-1` under ("ada", "2026-01-01T12:00:00.000000Z"). As NUL is below
every other character, the parts of sort keys are in order one by one, and rows with the same sort key by their own.
"""

from collections.abc import Mapping
from typing import NamedTuple

from kernel.limits import MAX_NUMBER
from streams.engine.consumer import Index, Part, Row, SortKey

_SEPARATOR, _AFTER_SEPARATOR = "\0", "\1"
_DIGITS = len(str(MAX_NUMBER))


def entries_of(indexes: Mapping[str, Index], key: str, row: Row | None) -> set[str]:
    """The entries of a row in all indexes; no row has none. Raises ValueError for a part that no entry can have."""
    if row is None:
        return set()
    end = _text(key)
    return {
        _SEPARATOR.join((name, *map(_text, sort_key), end))
        for name, index in indexes.items()
        for sort_key in index(row)
    }


def parts_of(entry: str) -> list[str]:
    """The index's name, the parts of the sort key, and last the row's key."""
    return entry.split(_SEPARATOR)


class Range(NamedTuple):
    """Entries of one index: those whose sort keys begin with `prefix` and go on with a part from `low` on, below `high`.

    None is no bound. `descending` is from the last one to the first.
    """

    name: str
    prefix: SortKey = ()
    low: Part | None = None
    high: Part | None = None
    descending: bool = False

    def bounds(self, behind: str | None) -> tuple[str, str]:
        """What its entries are above, and what below; only those `behind` a place, if one is given.

        No entry is just what a bound is, because each ends in a row's key.
        """
        begin = self._begin()
        lower = begin if self.low is None else begin + _text(self.low)
        upper = begin[:-1] + _AFTER_SEPARATOR if self.high is None else begin + _text(self.high)
        if behind is None:
            return lower, upper
        return (lower, min(upper, begin + behind)) if self.descending else (max(lower, begin + behind), upper)

    def place(self, entry: str) -> str:
        """Where an entry of this range is in it: what `bounds` takes."""
        return entry[len(self._begin()) :]

    def _begin(self) -> str:
        return _SEPARATOR.join((self.name, *map(_text, self.prefix), ""))


def _text(part: Part) -> str:
    """Texts as they are, numbers with so many digits that they are in order as texts."""
    if isinstance(part, str):
        if _SEPARATOR in part:
            raise ValueError(f"an index can't hold a text with NUL: {part!r}")
        return part
    if not 0 <= part <= MAX_NUMBER:
        raise ValueError(f"an index holds numbers from 0 to {MAX_NUMBER}, not {part}")
    return f"{part:0{_DIGITS}}"
