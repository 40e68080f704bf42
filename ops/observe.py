"""`python -m ops observe`: reads the stores, Kafka, PostgreSQL and Connect, and gives what it finds to Prometheus.

One process a stack; a second one does no harm. Each source is read in a thread of its own, so that one that does not
answer hides no other. What could not be read for a while is not told any more: an old figure looks like a good one.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kernel import health, metrics
from kernel.metrics import REGISTRY, Metric, Sample
from kernel.refusals import Unavailable
from ops.readings import READINGS, Reading

log = logging.getLogger(__name__)

#: Seconds between two looks at a source, and for which what was found is told.
EVERY_S, KEPT_S = 5.0, 20.0


class Look(NamedTuple):
    """What was found at a moment, in seconds of time.time()."""

    samples: Sequence[Sample]
    at: float


class Observer(Collector):
    """The last look at each source."""

    def __init__(self, readings: Mapping[str, Reading], clock: Callable[[], float] = time.time) -> None:
        self._readings = readings
        self._clock = clock
        self._looks: dict[str, Look] = {}

    def look(self, name: str) -> None:
        """Reads one source. Whatever it raises is said, and is what is known: nothing."""
        at = self._clock()
        try:
            self._looks[name] = Look(list(self._readings[name]()), at)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is said
            log.warning("%s can't be read: %s: %s", name, type(error).__name__, str(error).strip().partition("\n")[0])

    def run(self, ended: threading.Event) -> None:
        """Looks at all sources again and again, until told to end."""
        threads = [threading.Thread(target=self._repeat, args=(name, ended), name=name) for name in self._readings]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def check(self) -> None:
        """Raises Unavailable when a source was not read for a while."""
        if unread := sorted(self._readings.keys() - self._fresh().keys()):
            raise Unavailable(f"not read for {KEPT_S:.0f} s: {', '.join(unread)}: see its log")

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """For Prometheus."""
        looks = self._fresh()
        by_metric: dict[Metric, list[Sample]] = {}
        for sample in (sample for look in looks.values() for sample in look.samples):
            by_metric.setdefault(sample.metric, []).append(sample)
        # Of a source that is not read any more, the moment of its last look is told on: it says since when.
        by_metric[metrics.LOOKED] = [Sample(metrics.LOOKED, (name,), look.at) for name, look in self._looks.items()]
        for metric, samples in by_metric.items():
            family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            for sample in samples:
                family.add_metric(sample.labels, sample.value)
            yield family

    def _fresh(self) -> dict[str, Look]:
        since = self._clock() - KEPT_S
        return {name: look for name, look in list(self._looks.items()) if look.at >= since}

    def _repeat(self, name: str, ended: threading.Event) -> None:
        while True:
            self.look(name)
            if ended.wait(EVERY_S):
                return


def observe() -> None:
    """Returns after SIGTERM or SIGINT. It is of no use without MAREA_METRICS_ADDRESS."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    observer = Observer(READINGS)
    REGISTRY.register(observer)
    health.serve(observer.check)
    observer.run(ended)
