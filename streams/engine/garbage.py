"""Python's garbage collector, for processes that run consumers."""

import gc


def collect_rarely() -> None:
    """These processes make many objects and no cycles to speak of.

    Python's default looks through all remembered rows again and again; that cost a third of the throughput.
    """
    gc.set_threshold(50_000, 50, 100)
