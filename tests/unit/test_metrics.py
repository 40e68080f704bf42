"""What is counted, and how it is told to Prometheus."""

import json
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from time import monotonic
from urllib.error import HTTPError

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Histogram as Library

from api.services import metrics, services, views
from api.web import durations
from kernel import health
from kernel.health import Server
from kernel.metrics import (
    EVENTS,
    FAILURES,
    HTTP_DURATION,
    METRICS,
    REGISTRY,
    REWINDS,
    Histogram,
    Metric,
    Sample,
)
from kernel.metrics import measured as measured_as
from kernel.refusals import Unavailable
from kernel.tasks import Call
from ops import due, readings
from ops.due import Waiting
from ops.observe import EVERY_S, KEPT_S, Observer
from ops.parked import Aggregate
from ops.relay import Slot
from schemas import order
from streams.engine.batch import Batch, Place
from streams.engine.consumer import NotYet
from streams.engine.feed import Feed
from streams.engine.signals import Signals
from streams.engine.stores import LaneId, Parked, Progress, Write
from tests.events import CODEC, batch, life
from tests.memory_store import MemoryStore

ORDERS = life(order.TOPIC)[:3]
VIEW = "view.order"
TEST = Metric("test_seconds", "histogram", "worker", ("feed",), "What is tested.", (0.1, 1.0, 10.0))
#: Labels have few values: each of these would grow with what is sold.
FORBIDDEN = {"order", "order_id", "sku", "customer", "customer_id", "trace", "trace_id", "offset", "pid", "key", "reason_text"}


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def counted(consumer: str) -> dict[str, float]:
    return {
        outcome: value(EVENTS.name, consumer=consumer, outcome=outcome)
        for outcome in ("applied", "skipped", "parked")
    }


class TestTheList:
    def test_each_metric_is_there_once_and_says_what_it_means(self) -> None:
        names = [each.name for each in metrics()]
        assert len(names) == len(set(names))
        assert all(each.meaning.endswith(".") and len(each.meaning) > 15 for each in metrics())

    def test_no_label_grows_with_what_is_sold(self) -> None:
        assert {*chain(*(each.labels for each in metrics()))} & FORBIDDEN == set()

    @pytest.mark.parametrize("each", metrics(), ids=lambda each: each.name)
    def test_a_name_says_what_is_counted(self, each: Metric) -> None:
        assert each.name.endswith("_total") == (each.kind == "counter")
        assert bool(each.buckets) == (each.kind == "histogram")
        assert each.name.startswith(("marea_", "messaging_", "http_server_", "db_client_"))

    def test_a_service_brings_its_own(self) -> None:
        own = {gauge.metric.name for service in services() for gauge in service.gauges}
        assert {"marea_orders_unsettled", "marea_orders_unsettled_oldest_seconds"} <= own
        assert own == {each.name for each in metrics()} - {each.name for each in METRICS}


class TestHistograms:
    @given(st.lists(st.floats(0, 20)))
    def test_it_says_what_the_library_s_says(self, values: list[float]) -> None:
        ours, theirs = CollectorRegistry(), CollectorRegistry()
        histogram = Histogram(TEST)
        ours.register(histogram)
        library = Library(TEST.name, TEST.meaning, TEST.labels, buckets=TEST.buckets, registry=theirs)
        one, two = histogram.labels("views"), library.labels("views")
        one.observe_all(values)
        for each in values:
            one.observe(each)
            two.observe(each)
            two.observe(each)
        for bucket in ("0.1", "1.0", "10.0", "+Inf"):
            labels = {"feed": "views", "le": bucket}
            assert ours.get_sample_value("test_seconds_bucket", labels) == theirs.get_sample_value(
                "test_seconds_bucket", labels
            )
        labels = {"feed": "views"}
        assert ours.get_sample_value("test_seconds_sum", labels) == pytest.approx(
            theirs.get_sample_value("test_seconds_sum", labels)
        )
        assert ours.get_sample_value("test_seconds_count", labels) == 2 * len(values)

    def test_a_call_that_fails_takes_time_too(self) -> None:
        @measured_as("test", "fails")
        def fail() -> None:
            raise TimeoutError

        with pytest.raises(TimeoutError):
            fail()
        labels = {"db_system_name": "test", "db_operation_name": "fails"}
        assert value("db_client_operation_duration_seconds_count", **labels) == 1


class TestRequests:
    def test_they_are_counted_by_route_and_not_by_path(self) -> None:
        labels = {"http_request_method": "GET", "http_route": "/v1/things/<id>", "http_response_status_code": "200"}
        before = value(f"{HTTP_DURATION.name}_count", **labels)
        durations.note("GET", "/v1/things/<id>", 200, 0.01)
        assert value(f"{HTTP_DURATION.name}_count", **labels) == before + 1

    def test_a_method_that_somebody_made_up_is_no_label(self) -> None:
        labels = {"http_request_method": "_OTHER", "http_route": "", "http_response_status_code": "405"}
        before = value(f"{HTTP_DURATION.name}_count", **labels)
        for method in ("BREW", "FOO"):
            durations.note(method, "", 405, 0.01)
        assert value(f"{HTTP_DURATION.name}_count", **labels) == before + 2


class Refusing(MemoryStore):
    """A store that says of every write what it is told."""

    failure: Exception | None = None

    def apply(self, writes: Sequence[Write]) -> dict[LaneId, Exception]:
        return {write.lane: self.failure for write in writes} if self.failure else super().apply(writes)


class TestFeeds:
    @pytest.fixture
    def store(self) -> Refusing:
        return Refusing()

    @pytest.fixture
    def feed(self, store: Refusing) -> Feed:
        feed = Feed("test", [views()["order"]], store, CODEC)
        feed.assign([Place(order.TOPIC, 0)])
        return feed

    def test_an_event_is_applied_skipped_or_parked(self, feed: Feed) -> None:
        before = counted(VIEW)
        feed.handle([batch(ORDERS[:1], order.TOPIC)])
        again_and_a_gap = [ORDERS[0], ORDERS[2]]
        feed.handle([batch(again_and_a_gap, order.TOPIC, start=1)])
        after = counted(VIEW)
        assert {name: after[name] - before[name] for name in after} == {"applied": 1, "skipped": 1, "parked": 1}

    def test_what_lies_before_the_position_counts_once(self, feed: Feed) -> None:
        before = counted(VIEW)
        feed.handle([batch(ORDERS[:2], order.TOPIC)])
        feed.handle([batch(ORDERS[:3], order.TOPIC)])
        after = counted(VIEW)
        assert {name: after[name] - before[name] for name in after} == {"applied": 3, "skipped": 0, "parked": 0}

    @pytest.mark.parametrize(("failure", "reason"), [(NotYet(), "not_yet"), (ValueError("no"), "failed")])
    def test_a_try_that_fails_is_counted_with_why(
        self, feed: Feed, store: Refusing, failure: Exception, reason: str
    ) -> None:
        before = value(FAILURES.name, consumer=VIEW, reason=reason)
        store.failure = failure
        with pytest.raises(ValueError, match="no") if reason == "failed" else nullcontext():  # it can't even park
            feed.handle([batch(ORDERS[:1], order.TOPIC)])
        assert value(FAILURES.name, consumer=VIEW, reason=reason) == before + 1

    def test_a_gap_is_counted_once_and_not_for_every_batch_after_it(self, feed: Feed) -> None:
        before = value(REWINDS.name, consumer=VIEW, reason="gap")
        for start in (5, 6, 7):
            feed.handle([batch(ORDERS[:1], order.TOPIC, start=start)])
        assert value(REWINDS.name, consumer=VIEW, reason="gap") == before + 1

    def test_a_store_that_has_come_back_older_is_told_from_one_that_somebody_else_has_moved(
        self, feed: Feed, store: Refusing
    ) -> None:
        feed.handle([batch(ORDERS[:2], order.TOPIC)])
        for position, reason in ((1, "store_behind"), (9, "fenced")):
            before = value(REWINDS.name, consumer=VIEW, reason=reason)
            store.positions_by_lane[LaneId(VIEW, 0)] = position
            feed.recheck()
            assert value(REWINDS.name, consumer=VIEW, reason=reason) == before + 1

    def test_every_reason_is_told_before_it_comes_up_so_that_the_first_time_is_a_rise(self) -> None:
        Signals("new", ["view.new"])
        told = generate_latest(REGISTRY).decode()
        assert f'{REWINDS.name}{{consumer="view.new",reason="store_behind"}} 0.0' in told


def recorded(at: float) -> Batch:
    one = batch(ORDERS[:1], order.TOPIC)
    return one._replace(items=[item._replace(recorded_at=at) for item in one.items])


class TestFreshness:
    def test_a_feed_that_has_nothing_to_do_is_fresh(self) -> None:
        signals = Signals("fresh", [])
        assert signals.fresh_at == float("-inf")
        signals.idle()
        assert monotonic() - signals.fresh_at < 1

    def test_but_not_while_the_broker_does_not_answer(self) -> None:
        signals = Signals("fresh", [])
        signals.hears = False
        signals.idle()
        assert signals.fresh_at == float("-inf")

    def test_one_that_applies_what_is_a_minute_old_is_a_minute_behind(self) -> None:
        signals = Signals("fresh", [])
        now = datetime.now(UTC).timestamp()
        signals.handled([recorded(now), recorded(now - 60)], 0.01)
        assert 60 <= monotonic() - signals.fresh_at < 61

    def test_both_legs_of_every_event_are_observed(self) -> None:
        happened = ORDERS[0].occurred_at.timestamp()
        before = [value("marea_event_age_seconds_count", feed="legs", leg=leg) for leg in ("relay", "apply")]
        Signals("legs", []).handled([recorded(happened + 0.02)], 0.01)
        after = [value("marea_event_age_seconds_count", feed="legs", leg=leg) for leg in ("relay", "apply")]
        assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1]
        assert value("marea_event_age_seconds_bucket", feed="legs", leg="relay", le="0.025") == 1


class TestReadings:
    NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)

    @staticmethod
    def told(samples: Iterator[Sample]) -> dict[tuple[str, ...], float]:
        return {(sample.metric.name, *sample.labels): sample.value for sample in samples}

    def test_a_lag_is_what_is_between_position_and_end_and_never_below_nothing(self) -> None:
        at = {VIEW: {0: Progress(10), 1: Progress(7)}}
        told = self.told(readings.positions({VIEW: {0: 12, 1: 5}}, at))
        assert told["marea_consumer_position", VIEW, "0"] == 10
        assert told["marea_consumer_lag_events", VIEW, "0"] == 2
        assert told["marea_consumer_lag_events", VIEW, "1"] == 0

    def test_what_is_parked_is_told_by_cause_and_nothing_as_nothing(self) -> None:
        def one(offset: int, cause: str, minutes: int) -> Parked:
            return Parked(offset, "a", 1, cause, "", "", self.NOW - timedelta(minutes=minutes))  # type: ignore[arg-type]

        events = (one(1, "failed", 3), one(2, "waits", 1), one(3, "waits", 2))
        aggregate = Aggregate(views()["order"], LaneId(VIEW, 0), "a", events)
        told = self.told(readings.of_parked([VIEW], [aggregate], self.NOW))
        assert told["marea_parked_events", VIEW, "waits"] == 2
        assert told["marea_parked_oldest_seconds", VIEW, "waits"] == 120
        assert told["marea_parked_events", VIEW, "failed"] == 1
        assert told["marea_parked_events", VIEW, "gap"] == told["marea_parked_oldest_seconds", VIEW, "gap"] == 0

    def test_a_slot_that_is_missing_is_one_that_nobody_reads(self) -> None:
        assert self.told(readings.of_slot("a", None)) == {("marea_slot_active", "a"): 0, ("marea_slot_lost", "a"): 0}

    def test_a_slot_that_is_lost_has_no_safe_size(self) -> None:
        lost = Slot(active=False, wal_status="lost", confirmed_lsn=1, retained_bytes=9, lag_bytes=9, safe_bytes=None)
        told = self.told(readings.of_slot("a", lost))
        assert told["marea_slot_lost", "a"] == 1
        assert ("marea_slot_safe_bytes", "a") not in told

    def test_a_deadline_that_is_declared_is_told_though_there_is_none(self) -> None:
        waiting = Waiting("deadline", "orders", "pay_by", "due", 3, self.NOW - timedelta(seconds=40), None)
        told = self.told(readings.of_due([waiting], self.NOW))
        assert told["marea_deadlines", "orders", "pay_by", "due"] == 3
        assert told["marea_deadlines_oldest_seconds", "orders", "pay_by", "due"] == 40
        assert told["marea_deadlines", "orders", "pay_by", "failing"] == 0

    def test_of_a_call_that_a_service_makes_the_states_in_which_none_is_are_told_too(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        [first, *_] = services()
        call = Call("pay", print, print, print)  # type: ignore[arg-type]
        monkeypatch.setattr(readings, "services", lambda: [replace(first, calls=(call,))])
        waiting = Waiting("task", first.name, "pay", "due", 3, self.NOW - timedelta(seconds=40), None)
        told = self.told(readings.of_due([waiting], self.NOW))
        assert {state: told["marea_tasks", first.name, "pay", state] for state in due.TASK_STATES} == {
            "due": 3,
            "at work or resting": 0,
            "given up": 0,
        }
        assert told["marea_tasks_oldest_seconds", first.name, "pay", "due"] == 40

    def test_what_is_not_due_yet_has_no_age(self) -> None:
        waiting = Waiting("deadline", "orders", "pay_by", "waiting", 3, self.NOW + timedelta(seconds=40), None)
        assert self.told(readings.of_due([waiting], self.NOW))["marea_deadlines_oldest_seconds", "orders", "pay_by", "waiting"] == 0


class TestTheObserver:
    def test_a_source_that_does_not_answer_hides_no_other_and_is_soon_not_told_any_more(self) -> None:
        now, works = 1_000.0, True
        gauge = Metric("marea_test", "gauge", "observer", ("name",), "What is tested.")

        def broken() -> list[Sample]:
            if not works:
                raise OSError("it is away")
            return [Sample(gauge, ("broken",), 1)]

        observer = Observer({"good": lambda: [Sample(gauge, ("good",), 2)], "broken": broken}, lambda: now)
        for name in ("good", "broken"):
            observer.look(name)
        observer.check()
        works = False
        while now < 1_000 + KEPT_S:
            now += EVERY_S
            for name in ("good", "broken"):
                observer.look(name)
        registry = CollectorRegistry()
        registry.register(observer)
        assert registry.get_sample_value("marea_test", {"name": "broken"}) == 1, "it may be back soon"
        now += EVERY_S
        observer.look("good")
        assert registry.get_sample_value("marea_test", {"name": "broken"}) is None
        assert registry.get_sample_value("marea_test", {"name": "good"}) == 2
        assert registry.get_sample_value("marea_observer_look_timestamp_seconds", {"look": "broken"}) == 1_000
        with pytest.raises(Unavailable, match="broken"):
            observer.check()

    def test_each_source_is_read_in_a_thread_of_its_own(self) -> None:
        ended, stuck = threading.Event(), threading.Event()
        read: list[str] = []

        def hang() -> list[Sample]:
            stuck.wait(30)
            return []

        def work() -> list[Sample]:
            read.append("good")
            ended.set()
            stuck.set()
            return []

        Observer({"stuck": hang, "good": work}).run(ended)
        assert read == ["good"]


@contextmanager
def serving(server: Server) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def asked(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


class TestProcesses:
    def test_one_says_what_it_counts_that_it_lives_and_why_it_is_not_ready(self) -> None:
        def check() -> None:
            raise Unavailable("the topics are far away")

        with serving(Server(("127.0.0.1", 0), check)) as url:
            status, text = asked(url + health.METRICS)
            assert status == 200
            assert "process_cpu_seconds_total" in text
            assert asked(url + health.LIVE)[0] == 200
            status, text = asked(url + health.READY)
            assert (status, json.loads(text)["reason"]) == (503, "the topics are far away")
            assert asked(url + "/elsewhere")[0] == 404

    def test_one_that_is_ready_says_so(self) -> None:
        with serving(Server(("127.0.0.1", 0), lambda: None)) as url:
            assert asked(url + health.READY) == (200, '{"status": "ok"}')

    def test_one_that_is_not_told_where_says_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("MAREA_METRICS_ADDRESS", raising=False)
        before = threading.active_count()
        health.serve(lambda: None)
        assert threading.active_count() == before
