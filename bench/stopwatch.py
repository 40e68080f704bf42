"""Events a second and CPU time an event of something that tells how far it is."""

from collections.abc import Mapping
from time import monotonic
from typing import NamedTuple

from bench import cpu

REDIS = "redis"


class Speed(NamedTuple):
    """Events a second, and microseconds of CPU an event: the program's own, and Redis'."""

    events_per_s: float
    cpu_us_per_event: float
    redis_us_per_event: float


class Mark(NamedTuple):
    """So many events were done at a moment, in seconds, when so much CPU time was used, in milliseconds."""

    done: int
    at_s: float
    used_ms: Mapping[str, float]


def between(first: Mark, last: Mark) -> Speed:
    """The speed from one mark to another."""
    events = last.done - first.done
    own_us, redis_us = ((last.used_ms[name] - first.used_ms[name]) * 1_000 for name in (cpu.LOAD, REDIS))
    return Speed(
        round(events / (last.at_s - first.at_s), 1), round(own_us / events, 2), round(redis_us / events, 2)
    )


class Stopwatch:
    """Measures from the first batch that was done to the last: what a program needs to start does not count.

    The program must be a child of this process.
    """

    def __init__(self, redis_pid: int, events: int) -> None:
        self._meter = cpu.Meter({redis_pid: REDIS})
        self._events = events
        self._marks: list[Mark] = []

    @property
    def is_over(self) -> bool:
        """Whether all events are done."""
        return bool(self._marks) and self._marks[-1].done >= self._events

    def hear(self, done: int) -> None:
        """So many events are done. All but the first and the last time cost nothing."""
        if done and not self.is_over and (not self._marks or done >= self._events):
            self._marks.append(Mark(done, monotonic(), self._meter.used_ms()))

    def speed(self) -> Speed:
        """Raises ValueError when not all events were done, or all of them at once."""
        if not self.is_over:
            raise ValueError(f"not all of {self._events} events were done")
        first, *later = self._marks
        if not later:
            raise ValueError(f"all of {self._events} events were done in one batch: nothing to measure")
        return between(first, later[-1])
