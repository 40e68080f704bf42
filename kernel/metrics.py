"""Every metric of ours, by name: what it means, and its labels. A metric that is not here does not exist.

(What a service counts of its own stands in its manifest: see `Gauge` in api/manifest.py.) Labels have few values: never an
order, a sku, a customer, a trace, an offset, a process or a message's text.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, wraps
from itertools import accumulate
from threading import Lock
from time import perf_counter
from typing import Literal, NamedTuple, ParamSpec, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, disable_created_metrics
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: Seconds: OpenTelemetry's advice for durations, and some below 5 ms, where most of ours are.
_DURATIONS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_AGES = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0)
_EVENTS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 20_000.0)


@dataclass(frozen=True)
class Metric:
    """One metric. `source` is who gives it: the observer, workers, services (of which a worker has what it shares)."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    source: Literal["observer", "worker", "service"]
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()


def _gauge(name: str, labels: str, meaning: str) -> Metric:
    return Metric(name, "gauge", "observer", tuple(labels.split()), meaning)


POSITION = _gauge("marea_consumer_position", "consumer partition", "Next offset that a consumer needs, as its store has it.")
LAG_EVENTS = _gauge("marea_consumer_lag_events", "consumer partition", "Events of its topic that a consumer has not come to.")
LAG_SECONDS = _gauge("marea_consumer_lag_seconds", "consumer kind", "Age of the oldest event that a consumer has not come to.")
OBJECTIVE = _gauge("marea_freshness_objective_seconds", "kind", "Oldest that what a consumer of this kind lacks may be.")
UNASSIGNED = _gauge("marea_consumer_unassigned_partitions", "feed", "Partitions that no worker reads.")
PARKED = _gauge("marea_parked_events", "consumer cause", "Events that could not be applied.")
PARKED_OLDEST = _gauge("marea_parked_oldest_seconds", "consumer cause", "How long the first of them has been parked; 0 of none.")
HEARTBEAT = _gauge("marea_relay_heartbeat_timestamp_seconds", "connector", "When the connector last wrote to Kafka that it lives.")
TASKS_OF_CONNECTOR = _gauge("marea_connector_tasks", "connector state", "Tasks of a connector, by Kafka Connect's states.")
SLOT_RETAINED = _gauge("marea_slot_retained_bytes", "slot", "WAL that PostgreSQL keeps for the slot.")
SLOT_SAFE = _gauge("marea_slot_safe_bytes", "slot", "WAL that may still be written before the slot is lost.")
SLOT_ACTIVE = _gauge("marea_slot_active", "slot", "1 when the relay reads the slot, else 0.")
SLOT_LOST = _gauge("marea_slot_lost", "slot", "1 when PostgreSQL has thrown away what the slot stood for, else 0.")
DEADLINES = _gauge("marea_deadlines", "service name state", "Deadlines: waiting, due, or failing.")
DEADLINES_OLDEST = _gauge("marea_deadlines_oldest_seconds", "service name state", "How long the first of them has been due; 0 before.")
TASKS = _gauge("marea_tasks", "service name state", "Tasks: due, at work or resting, given up.")
TASKS_OLDEST = _gauge("marea_tasks_oldest_seconds", "service name state", "How long the first of them has been due, or, if it is not, ago it was asked for.")
VERIFY_DIFFERENCES = _gauge("marea_verify_differences", "consumer", "Rows that differed when verify last looked.")
VERIFY_TIME = _gauge("marea_verify_timestamp_seconds", "consumer", "When verify last looked.")
REBUILD_PROGRESS = _gauge("marea_rebuild_progress_ratio", "consumer", "Part of the topic that a rebuild has replayed; 0 when none runs.")
CLICKHOUSE_PARTS = _gauge("marea_clickhouse_parts", "table", "Active parts of a table, of its live generation where it has some.")
LOOKED = _gauge("marea_observer_look_timestamp_seconds", "look", "When the observer last read this source.")

EVENTS = Metric(
    *("marea_consumer_events_total", "counter", "worker", ("consumer", "outcome")),
    "Events that a consumer has come to: applied, skipped because it had them, or parked.",
)
FAILURES = Metric(
    *("marea_consumer_failures_total", "counter", "worker", ("consumer", "reason")),
    "Tries that failed: our own code or the store refused (failed), what is needed is not there yet (not_yet), the"
    " consumer stopped after too many (stopped), its topic lacks what it needs (lost).",
)
REWINDS = Metric(
    *("marea_consumer_rewinds_total", "counter", "worker", ("consumer", "reason")),
    "Times that a consumer had to read elsewhere: after a gap, fenced by somebody else, or its store was behind.",
)
EVENT_AGE = Metric(
    *("marea_event_age_seconds", "histogram", "worker", ("feed", "leg")),
    "From what happened to its record in Kafka (relay), and from there to its effects (apply).",
    _AGES,
)
BATCH_EVENTS = Metric(
    "marea_consumer_batch_events", "histogram", "worker", ("feed",), "Events that were applied in one go.", _EVENTS
)
PROCESS_DURATION = Metric(
    *("messaging_process_duration_seconds", "histogram", "worker", ("messaging_consumer_group_name",)),
    "Time to apply them.",
    _DURATIONS,
)
HTTP_DURATION = Metric(
    *("http_server_request_duration_seconds", "histogram", "service"),
    ("http_request_method", "http_route", "http_response_status_code"),
    "Time to answer a request.",
    _DURATIONS,
)
DB_DURATION = Metric(
    *("db_client_operation_duration_seconds", "histogram", "service", ("db_system_name", "db_operation_name")),
    "Time of one statement, or of one call for many lanes.",
    _DURATIONS,
)
BREAKER_OPEN = Metric(
    *("marea_breaker_open", "gauge", "worker", ("name",)),
    "1 while a company outside is left alone because it has given no answer several times; 0 else.",
)

METRICS: tuple[Metric, ...] = tuple(each for each in list(globals().values()) if isinstance(each, Metric))

# A series more for each counter, of which nothing is made.
disable_created_metrics()  # type: ignore[no-untyped-call]

#: What this process has counted; its own memory and CPU time, too.
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)


@cache
def counter(metric: Metric) -> Counter:
    """The process's counter."""
    return Counter(metric.name, metric.meaning, metric.labels, registry=REGISTRY)


@cache
def gauge(metric: Metric) -> Gauge:
    """The process's gauge."""
    return Gauge(metric.name, metric.meaning, metric.labels, registry=REGISTRY)


@cache
def histogram(metric: Metric) -> "Histogram":
    """The process's histogram."""
    found = Histogram(metric)
    REGISTRY.register(found)
    return found


class Histogram(Collector):
    """As the library's, at a seventh of its cost (0.4 µs an observation), and less when many come at once."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._lock = Lock()
        self._children: dict[tuple[str, ...], Observed] = {}

    def labels(self, *values: str) -> "Observed":
        """What is observed with these labels; to be kept by whoever observes often."""
        with self._lock:
            return self._children.setdefault(values, Observed(self._metric.buckets))

    def collect(self) -> Iterator[Family]:
        """For the registry."""
        metric = self._metric
        family = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
        bounds = [*map(floatToGoString, metric.buckets), "+Inf"]
        with self._lock:
            children = list(self._children.items())
        for values, child in children:
            counts, total = child.read()
            family.add_metric(values, list(zip(bounds, accumulate(counts), strict=True)), total)
        yield family


class Observed:
    """The observations with certain labels. Safe to share between threads."""

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self._buckets = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        self._lock = Lock()

    def observe(self, value: float) -> None:
        """One observation."""
        at = bisect_left(self._buckets, value)
        with self._lock:
            self._counts[at] += 1
            self._sum += value

    def observe_all(self, values: Iterable[float]) -> None:
        """Many at once."""
        buckets, counts, total = self._buckets, self._counts, 0.0
        with self._lock:
            for value in values:
                counts[bisect_left(buckets, value)] += 1
                total += value
            self._sum += total

    def read(self) -> tuple[list[int], float]:
        """How many are in each bucket, and their sum."""
        with self._lock:
            return list(self._counts), self._sum


class Sample(NamedTuple):
    """One value of a gauge."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


def measured(system: str, operation: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Has the time of every call observed, as an operation of a database."""

    def decorate(work: Callable[_P, _R]) -> Callable[_P, _R]:
        @cache
        def duration() -> Observed:
            """Made by the first call: a process tells nothing of what it never does."""
            return histogram(DB_DURATION).labels(system, operation)

        @wraps(work)
        def timed(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            began = perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                duration().observe(perf_counter() - began)

        return timed

    return decorate
