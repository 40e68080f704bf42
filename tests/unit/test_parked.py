"""What is said of parked events and of consumers that stand still, and what a rehearsal leaves: nothing."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import count

import pytest

from api.services import consumers, tables, topics, views
from ops import consumers as looks
from ops import parked as operators
from ops.consumers import Fare, fare, fares, troubles
from ops.parked import Aggregate, Desk, NotCarriedOut, NotParked, Outcome
from streams.engine.batch import Record
from streams.engine.consumer import Table, View, consumer_id
from streams.engine.feed import Feed
from streams.engine.lane import MOST_FAILED
from streams.engine.rehearsal import Rehearsal
from streams.engine.stores import Cause, LaneId, Parked, Progress, Request
from streams.feeds import feeds
from tests.events import CODEC, ORDER, START, batch_of, newer, record
from tests.memory_store import MemoryStore
from tests.unit.test_feed import ORDERS, PLACE, TOPIC, fetching, parked, records_of, running

VIEW = views()["order"]
LANE = LaneId("view.order", 0)


def event(offset: int, cause: Cause, reason: str = "", version: int = 1) -> Parked:
    return Parked(offset, ORDER, version, cause, reason, "", START)


class TestAggregates:
    """The head is what the others wait for: it is named, and it is what a drop drops."""

    def test_the_head_is_the_first_event_that_does_not_just_wait(self) -> None:
        # A foreign record that says version 99 came before version 2.
        events = (event(6, "waits", version=2), event(5, "record", "torn", version=99))
        aggregate = Aggregate(VIEW, LANE, ORDER, events)
        assert aggregate.head.offset == 5
        said = aggregate.as_json()
        assert (said["events"], said["cause"], said["reason"]) == (2, "record", "torn")

    def test_when_all_wait_the_first_is_the_head(self) -> None:
        assert Aggregate(VIEW, LANE, ORDER, (event(6, "waits"), event(7, "waits"))).head.offset == 6


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        ((3, 0, 0, ""), "applied 3 events"),
        ((0, 1, 0, ""), "dropped 1 event"),
        ((2, 1, 1, "KeyError: 'sku'"), "dropped 1 event, applied 2 events, 1 still parked: KeyError: 'sku'"),
        ((0, 0, 2, "KeyError: 'sku'"), "2 still parked: KeyError: 'sku'"),
        ((0, 0, 0, ""), "nothing is parked any more"),
    ],
)
def test_an_outcome_says_what_became_of_every_event(figures: tuple[int, int, int, str], sentence: str) -> None:
    assert Outcome("view.order", 0, ORDER, *figures).sentence == sentence


class TestNames:
    """Consumers are found by their full names, and by short ones that only one has."""

    @pytest.mark.parametrize("consumer", consumers(), ids=consumer_id)
    def test_every_consumer_is_found_by_its_full_name(self, consumer: View) -> None:
        assert Desk().find(consumer_id(consumer)) == consumer_id(consumer)

    def test_a_short_name_that_is_one_of_a_kind_will_do(self) -> None:
        assert Desk().find("customer_orders") == "view.customer_orders"

    def test_what_there_is_not_is_told_with_what_there_is(self) -> None:
        with pytest.raises(NotParked, match=r"there is no consumer 'nobody': there are .*view\.order"):
            Desk().find("nobody")


class Owned(MemoryStore):
    """A store whose partitions have an owner that carries out what is asked for; when there is none, nothing is done."""

    owner: Callable[[], None] | None = None

    def requests(self, lanes: Sequence[LaneId]) -> list[Request]:
        owner, self.owner = self.owner, None
        if owner:
            owner()
        return super().requests(lanes)


class TestRequests:
    """What operators want is left with the owner, and they hear what became of it."""

    RECORDS = (record(0, ORDERS[0]), newer(1, ORDERS[1], TOPIC), record(2, ORDERS[2]))

    @pytest.fixture
    def store(self, monkeypatch: pytest.MonkeyPatch) -> Owned:
        monkeypatch.setenv("MAREA_PARTITIONS", "2")
        monkeypatch.setattr(operators, "PATIENCE_S", 0.5)
        store = Owned()
        monkeypatch.setattr(operators, "open_store", lambda feed: store)
        return store

    def parked(self, store: Owned, records: Sequence[Record]) -> Aggregate:
        """What is parked after the order's events; from then on the owner finds these records in the topic."""
        feed = running(store)
        feed.handle([batch_of(self.RECORDS, TOPIC)])
        store.owner = lambda: feed.carry_out(fetching(records=records))
        return Desk().aggregate("view.order", ORDER)

    def test_a_retry_tells_how_many_events_were_applied(self, store: Owned) -> None:
        aggregate = self.parked(store, records_of(ORDERS))
        [outcome] = Desk().retry([aggregate])
        assert (outcome.applied, outcome.left, parked(store), store.asked) == (2, 0, [], [])

    def test_a_retry_that_fails_again_tells_why(self, store: Owned) -> None:
        aggregate = self.parked(store, self.RECORDS)
        [outcome] = Desk().retry([aggregate])
        assert (outcome.applied, outcome.left) == (0, 2)
        assert outcome.reason == "the running code does not know SomethingNew"

    def test_a_drop_gives_up_the_head_and_applies_the_rest(self, store: Owned) -> None:
        aggregate = self.parked(store, self.RECORDS)
        [outcome] = Desk().drop([aggregate], "not ours")
        assert (outcome.dropped, outcome.applied, outcome.left) == (1, 1, 0)
        assert [(lane, offset, fact.reason) for lane, offset, fact in Desk().dropped(["view.order"])] == [
            (LANE, 1, "not ours")
        ]

    def test_a_request_that_nobody_carries_out_is_said_and_stays(self, store: Owned) -> None:
        aggregate = self.parked(store, [])
        store.owner = None
        with pytest.raises(NotCarriedOut, match=r"view\.order has not carried out 1 of 1 requests"):
            Desk().retry([aggregate])
        assert [request.action for request in store.asked] == ["retry"]

    def test_only_a_consumer_that_has_stopped_can_be_let_past(self, store: Owned) -> None:
        self.parked(store, [])
        with pytest.raises(NotParked, match=r"view\.order has not stopped"):
            Desk().pass_by("view.order", "a reason")
        assert store.asked == []


class TestRehearsals:
    """What a request would do is found by the feed's own code, and nothing is kept."""

    @pytest.mark.parametrize("consumer", [VIEW, tables()["orders"]], ids=consumer_id)
    def test_a_rehearsed_retry_tells_what_would_be_applied_and_changes_nothing(self, consumer: View | Table) -> None:
        store, lane = MemoryStore(), LaneId(consumer_id(consumer), 0)
        records = [record(0, ORDERS[0]), newer(1, ORDERS[1], TOPIC), record(2, ORDERS[2])]
        running(store, consumer).handle([batch_of(records, TOPIC)])
        before = (dict(store.rows[lane]), list(store.records[lane]), parked(store, lane))
        rehearsal = Rehearsal(store, Request("1", lane, "retry", ORDER))
        feed = Feed("rehearsal", [consumer], rehearsal, CODEC)
        feed.assign([PLACE])
        feed.carry_out(fetching(records=records_of(ORDERS)))  # by now this code knows what 1 is
        assert [offset for write in rehearsal.writes for offset in write.unparked] == [1, 2]
        assert (dict(store.rows[lane]), list(store.records[lane]), parked(store, lane)) == before

    def test_a_rehearsed_drop_keeps_no_fact(self) -> None:
        store = MemoryStore()
        records = [record(0, ORDERS[0]), newer(1, ORDERS[1], TOPIC), newer(2, ORDERS[2], TOPIC)]
        running(store).handle([batch_of(records, TOPIC)])
        rehearsal = Rehearsal(store, Request("1", LANE, "drop", ORDER, "", 1))
        feed = Feed("rehearsal", [VIEW], rehearsal, CODEC)
        feed.assign([PLACE])
        feed.carry_out(fetching(records=records))
        assert [offset for write in rehearsal.writes for offset in write.unparked] == [1]
        assert [one.offset for write in rehearsal.writes for one in write.parked] == [2], "it still fails"
        assert (store.dropped(LANE), len(parked(store))) == ({}, 2)


class TestFares:
    """How a consumer fares is told from two looks at its positions, the ends of its topic between them."""

    @staticmethod
    def of(before: Progress, after: Progress, *events: Parked, unread: tuple[int, ...] = ()) -> Fare:
        aggregates = [Aggregate(VIEW, LANE, one.key, (one,)) for one in events]
        return fare("view.order", ({0: 10, 1: 0}, {0: before, 1: Progress()}, {0: after, 1: Progress()}), unread, aggregates)

    def test_one_that_has_all_is_up_to_date(self) -> None:
        found = self.of(Progress(10), Progress(10))
        assert (found.lag, found.state, troubles([found])) == (0, "up to date", [])

    def test_one_that_lags_and_moves_catches_up(self) -> None:
        found = self.of(Progress(4), Progress(7))
        assert (found.lag, found.state, troubles([found])) == (3, "catches up", [])

    def test_one_that_lags_and_does_not_move_stands_still(self) -> None:
        found = self.of(Progress(4), Progress(4))
        assert (found.lag, found.state) == (6, "stands still in partition 0")
        assert [(each.what, each.still) for each in troubles([found])] == [("view.order", True)]

    def test_one_that_stands_still_after_too_many_failures_has_stopped_and_says_why(self) -> None:
        failing = Progress(4, parked={ORDER: 1}, counted=MOST_FAILED)
        found = self.of(failing, failing, event(3, "failed", "KeyError: 'sku'"))
        assert found.state == "stopped, its code fails: KeyError: 'sku'"
        stopped, kept = troubles([found])
        assert (stopped.what, stopped.still) == ("view.order", True)
        assert "6 events behind, stopped, its code fails: KeyError: 'sku'" in stopped.why
        assert (kept.what, kept.still, kept.since) == ("what view.order has parked", False, START)

    def test_one_that_has_stopped_does_not_blame_what_was_parked_before_for_other_reasons(self) -> None:
        failing = Progress(4, parked={ORDER: 1}, counted=MOST_FAILED)
        older = event(1, "record", "no event")._replace(since=START - timedelta(days=1))
        found = self.of(failing, failing, older, event(3, "failed", "KeyError: 'sku'"))
        assert found.reason == "KeyError: 'sku'"

    def test_one_that_moves_in_spite_of_failures_has_not_stopped(self) -> None:
        failing = Progress(4, parked={ORDER: 1}, counted=MOST_FAILED)
        found = self.of(failing, failing._replace(position=5), event(3, "failed", "KeyError: 'sku'"))
        assert (found.state, found.parked, found.reason) == ("catches up", 1, "KeyError: 'sku'")

    def test_one_that_nobody_reads_is_in_trouble_even_without_lag(self) -> None:
        found = self.of(Progress(10), Progress(10), unread=(0, 1))
        assert found.state == "not read by any worker in partitions 0, 1"
        assert [each.still for each in troubles([found])] == [True]

    def test_one_whose_topic_ends_before_its_position_is_in_trouble(self) -> None:
        found = self.of(Progress(11), Progress(11))
        assert (found.lag, found.state) == (0, "ahead of its topic in partition 0: its log has gone back")
        [trouble] = troubles([found])
        assert (trouble.what, trouble.still) == ("view.order", True)
        assert trouble.why == (
            "it is ahead of its topic in partition 0: its log has gone back: restore the topic, or rebuild the consumer"
        )

    def test_one_that_came_past_the_end_after_that_was_read_is_up_to_date(self) -> None:
        found = self.of(Progress(10), Progress(15))
        assert (found.lag, found.state, troubles([found])) == (0, "up to date", [])

    def test_whoever_keeps_up_with_topics_that_grow_is_never_ahead(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Between any two looks there are new events, and everybody has them at once."""
        grown = count()

        def at_the_end() -> dict[str, dict[int, Progress]]:
            position = next(grown)
            return {consumer_id(each): {0: Progress(position)} for each in consumers()}

        monkeypatch.setattr(looks, "progress", at_the_end)
        monkeypatch.setattr(looks, "topics_ends", lambda: {topic: {0: next(grown)} for topic in topics()})
        monkeypatch.setattr(looks, "unassigned", lambda: {feed: [] for feed in feeds()})
        monkeypatch.setattr(looks, "changed", list)
        monkeypatch.setattr(looks, "lags_s", lambda positions, ends: dict.fromkeys(positions, 0.0))
        monkeypatch.setattr(looks, "sleep", lambda seconds: None)
        found = fares()
        assert {each.name for each in found} == {consumer_id(each) for each in consumers()}
        assert {each.state for each in found} == {"up to date"}
