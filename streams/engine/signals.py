"""What a feed counts of its work: a few times a batch, never for each event of each consumer."""

import time
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Literal, NamedTuple

from prometheus_client import Counter

from kernel.metrics import (
    BATCH_EVENTS,
    EVENT_AGE,
    EVENTS,
    FAILURES,
    PROCESS_DURATION,
    REWINDS,
    counter,
    histogram,
)
from streams.engine.batch import Batch

#: Why a try failed, and why a consumer had to read elsewhere: see kernel/metrics.py.
Failed = Literal["failed", "not_yet", "stopped", "lost"]
Rewound = Literal["gap", "fenced", "store_behind"]


class Signals:
    """What one feed counts, and since when it may be behind."""

    def __init__(self, feed: str, consumers: Iterable[str]) -> None:
        self._consumers = {name: _OfConsumer.of(name) for name in consumers}
        self._duration = histogram(PROCESS_DURATION).labels(f"marea.{feed}")
        self._batch_events = histogram(BATCH_EVENTS).labels(feed)
        self._relay_age = histogram(EVENT_AGE).labels(feed, "relay")
        self._apply_age = histogram(EVENT_AGE).labels(feed, "apply")
        #: All that was in Kafka by then has been applied, on the clock of time.monotonic(); nothing, at first.
        self.fresh_at = float("-inf")
        #: Whether the broker answers: without it, nothing new says nothing.
        self.hears = True

    def idle(self) -> None:
        """There is nothing to apply."""
        if self.hears:
            self.fresh_at = monotonic()

    def handled(self, batches: Sequence[Batch], took_s: float) -> None:
        """These have just been applied, in one go."""
        now = time.time()
        oldest_end = min(batch.items[-1].recorded_at for batch in batches)
        self.fresh_at = max(self.fresh_at, monotonic() - (now - oldest_end))
        items = [item for batch in batches for item in batch.items]
        self._duration.observe(took_s)
        self._batch_events.observe(len(items))
        self._apply_age.observe_all(now - item.recorded_at for item in items)
        self._relay_age.observe_all(
            item.recorded_at - item.event.occurred_at.timestamp() for item in items if item.event
        )

    def settled(self, consumer: str, applied: int, skipped: int, parked: int) -> None:
        """A consumer has come to so many events."""
        counts = self._consumers[consumer]
        counts.applied.inc(applied)
        if skipped:
            counts.skipped.inc(skipped)
        if parked:
            counts.parked.inc(parked)

    def failed(self, consumer: str, reason: Failed) -> None:
        """A try of a consumer has failed."""
        self._consumers[consumer].failures[reason].inc()

    def rewound(self, consumer: str, reason: Rewound) -> None:
        """A consumer has to read elsewhere."""
        self._consumers[consumer].rewinds[reason].inc()


class _OfConsumer(NamedTuple):
    """The counters of one consumer: there from the start, so that the first time is a rise, too."""

    applied: Counter
    skipped: Counter
    parked: Counter
    failures: dict[str, Counter]
    rewinds: dict[str, Counter]

    @classmethod
    def of(cls, name: str) -> "_OfConsumer":
        """Of the consumer of this name."""
        events, failures, rewinds = counter(EVENTS), counter(FAILURES), counter(REWINDS)
        return cls(
            events.labels(name, "applied"),
            events.labels(name, "skipped"),
            events.labels(name, "parked"),
            {reason: failures.labels(name, reason) for reason in ("failed", "not_yet", "stopped", "lost")},
            {reason: rewinds.labels(name, reason) for reason in ("gap", "fenced", "store_behind")},
        )
