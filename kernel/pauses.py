"""How long to wait before something is tried again."""

import random

#: More doublings would be more than any longest pause, and at last more than a float holds.
_MOST_DOUBLINGS = 30


def backoff_s(failures: int, first_s: float, longest_s: float) -> float:
    """The pause after so many failures in a row: twice as long each time, up to the longest; chance takes up to half."""
    return min(longest_s, first_s * 2.0 ** min(failures - 1, _MOST_DOUBLINGS)) * random.uniform(0.5, 1)
