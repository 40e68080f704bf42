"""The engine's rules, without any server."""

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.services import tables, views
from kernel import code
from schemas import order
from schemas.codec import TYPES, Codec
from schemas.event import Event
from streams.engine import feed as feeds
from streams.engine import lane as lanes
from streams.engine import stores
from streams.engine.batch import Batch, Item, Place, Record
from streams.engine.consumer import Consumer, NotYet, Reaction, Row, Table, View, consumer_id
from streams.engine.feed import Feed
from streams.engine.folds import fold_of
from streams.engine.lane import MOST_FAILED, WAITS
from streams.engine.stores import Known, LaneId, Parked, Request, Wanted, Write
from tests.events import CANCELLED, CODEC, ORDER, PLACED, SETTLED, batch, batch_of, life, newer, record
from tests.memory_store import MemoryStore

TOPIC = order.TOPIC
PLACE = Place(TOPIC, 0)
#: Placed, confirmed and cancelled.
ORDERS = [
    event._replace(type=type_, data=data)
    for event, (type_, data) in zip(
        life(TOPIC), (("OrderPlaced", PLACED), ("OrderConfirmed", SETTLED), ("OrderCancelled", CANCELLED)), strict=False
    )
]
#: The store in memory stands for its handler.
REACTION = Reaction(
    "test",
    "orders",
    TOPIC,
    frozenset({"OrderPlaced", "OrderConfirmed", "OrderCancelled"}),
    lambda cursor, events: None,
    lambda states: iter(()),
    "SELECT",
)
REACTING = LaneId("reaction.test", 0)
LANE = LaneId("view.order", 0)


def other(events: Sequence[Event], key: str) -> list[Event]:
    """The same life of another aggregate."""
    return [event._replace(key=key, data=event.data | {"order_id": key}) for event in events]


def running(store: MemoryStore, *consumers: Consumer, codec: Codec = CODEC) -> Feed:
    """A feed as a new worker has it, with two partitions."""
    feed = Feed("test", consumers or (views()["order"],), store, codec)
    feed.assign([PLACE, Place(TOPIC, 1)])
    return feed


def told(events: Sequence[Event], start: int = 0, partition: int = 0) -> list[Batch]:
    return [batch(events, TOPIC, start, partition)]


def status(store: MemoryStore, key: str = ORDER) -> str:
    return str(orjson.loads(store.rows[LANE][key])["status"])


def parked(store: MemoryStore, lane: LaneId = LANE) -> list[Parked]:
    return sorted(store.parked_events[lane].values())


def reasons(store: MemoryStore, lane: LaneId = LANE) -> list[tuple[int, str]]:
    return [(one.offset, one.reason) for one in parked(store, lane)]


def failing(keys: Callable[[str], bool], error: Exception) -> Callable[[Sequence[Event]], None]:
    """A reaction's handler that raises when it meets such an aggregate."""

    def handle(events: Sequence[Event]) -> None:
        if any(keys(event.key) for event in events):
            raise error

    return handle


def fetching(*batches: Batch, records: Iterable[Record] = ()) -> feeds.Fetch:
    """Gives records of the topic, as the broker would."""
    by_offset = {one.offset: one for one in records}

    def fetch(place: Place, offsets: Sequence[int]) -> list[Record]:
        return [by_offset[offset] for offset in offsets]

    return fetch


def records_of(events: Sequence[Event], start: int = 0) -> list[Record]:
    return [record(offset, event) for offset, event in enumerate(events, start)]


def test_a_batch_becomes_rows_versions_and_a_position_in_one_write() -> None:
    store = MemoryStore()
    running(store).handle(told(ORDERS[:2]))
    assert (status(store), store.versions[LANE], store.positions_by_lane[LANE]) == ("confirmed", {ORDER: 2}, 2)


def test_one_batch_goes_to_every_consumer_of_its_topic_in_one_write_each() -> None:
    store = MemoryStore()
    orders, customers = views()["order"], views()["customer_orders"]
    running(store, orders, customers, views()["stock"]).handle(told(ORDERS))
    assert {lane.consumer: at for lane, at in store.positions_by_lane.items()} == {
        consumer_id(orders): 3,
        consumer_id(customers): 3,
    }


def test_events_up_to_the_known_version_are_skipped() -> None:
    store = MemoryStore()
    feed = running(store)
    feed.handle(told(ORDERS[:2]))
    feed.handle(told([*ORDERS[:2], *ORDERS], start=2))
    assert (status(store), store.versions[LANE], parked(store)) == ("cancelled", {ORDER: 3}, [])


def test_a_version_gap_parks_the_event_and_the_later_ones_of_its_aggregate_only() -> None:
    store = MemoryStore()
    bystander = other(ORDERS, "bystander")
    running(store).handle(told([ORDERS[0], bystander[0], ORDERS[2], ORDERS[1], bystander[1]]))
    assert reasons(store) == [(2, "gap: version 3 after version 1"), (3, WAITS)]
    assert (status(store), status(store, "bystander"), store.positions_by_lane[LANE]) == ("placed", "confirmed", 5)


def test_an_aggregate_with_parked_events_waits_in_later_batches_and_after_a_restart() -> None:
    store = MemoryStore()
    feed = running(store)
    feed.handle(told([ORDERS[1]]))
    feed.handle(told([ORDERS[0]], start=1))
    running(store).handle(told([ORDERS[0]], start=2))
    assert [why for _, why in reasons(store)] == ["gap: version 2 after version 0", WAITS, WAITS]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{}", "shorter than its header"),
        (b'{"order": 1}', "first byte is 123"),
        (b"\x00\x00\x00\x00\x63abc", "schema id 99 is not in the registry"),
        (CODEC.encode("OrderConfirmed", ORDERS[1].data)[:-1], "not Avro of schema"),
        (CODEC.encode("OrderConfirmed", ORDERS[1].data) + b"x", "1 bytes left over"),
    ],
)
def test_what_can_not_be_decoded_is_parked_and_the_partition_goes_on(value: bytes, reason: str) -> None:
    store = MemoryStore()
    records = [record(0, ORDERS[0]), record(1, ORDERS[1], value), record(2, other(ORDERS, "next")[0])]
    running(store).handle([batch_of(records, TOPIC)])
    assert reason in parked(store)[0].reason
    assert (status(store), status(store, "next"), store.positions_by_lane[LANE]) == ("placed", "placed", 3)


def test_a_record_without_key_or_value_is_parked() -> None:
    store = MemoryStore()
    running(store).handle([batch_of([Record(0, None, None, [])], TOPIC)])
    assert store.positions_by_lane[LANE] == 1
    assert parked(store)[0].key == "unreadable:"


def test_an_event_type_that_the_code_does_not_know_is_parked_and_never_skipped() -> None:
    """It would be missing from live, and present after a rebuild by newer code."""
    for consumer in (views()["order"], tables()["orders"], REACTION):
        store = MemoryStore()
        running(store, consumer).handle([batch_of([newer(0, ORDERS[0], TOPIC)], TOPIC)])
        [one] = parked(store, LaneId(consumer_id(consumer), 0))
        assert (one.cause, one.reason) == ("unknown", "the running code does not know SomethingNew")


def test_a_fold_that_raises_parks_its_event() -> None:
    store = MemoryStore()
    running(store).handle(told([ORDERS[1]._replace(version=1), other(ORDERS, "next")[0]]))
    assert reasons(store) == [(0, "ValueError: OrderConfirmed of an order that was not placed")]
    assert status(store, "next") == "placed"


def test_a_row_that_can_not_be_stored_parks_its_event_alone() -> None:
    def fold(row: Row | None, event: Event) -> Row | None:
        return {"big": 2**80 if event.key == ORDER else 1}

    store = MemoryStore()
    view = View("big", TOPIC, fold, expected=lambda states: iter(()))
    running(store, view).handle(told([other(ORDERS, "a")[0], *ORDERS, other(ORDERS, "b")[0]]))
    lane = LaneId("view.big", 0)
    assert sorted(store.rows[lane]) == ["a", "b"]
    assert [one.offset for one in parked(store, lane)] == [1, 2, 3]


def test_a_batch_after_the_position_is_not_applied_but_left_to_the_replayer() -> None:
    store = MemoryStore()
    feed = running(store)
    feed.handle(told(ORDERS, start=4))
    assert store.positions_by_lane == {}
    assert feed.due() == {PLACE: 0}


def test_a_batch_before_the_position_is_ignored_and_one_across_it_applied_from_there() -> None:
    store = MemoryStore()
    feed = running(store)
    feed.handle(told(ORDERS[:2]))
    feed.handle(told(ORDERS[:2]))
    feed.handle(told(ORDERS))
    assert (status(store), store.positions_by_lane[LANE]) == ("cancelled", 3)


def test_a_zombie_is_refused_reloads_and_goes_on_from_the_stored_position() -> None:
    store = MemoryStore()
    zombie, owner = running(store), running(store)
    owner.handle(told(ORDERS[:1]))
    zombie.handle(told(ORDERS))
    assert status(store) == "placed"
    # No other event need come for it to go on.
    assert zombie.attach({PLACE: 3}) == {PLACE: 1}
    zombie.handle(told(ORDERS[1:], start=1))
    assert (status(store), store.versions[LANE]) == ("cancelled", {ORDER: 3})


@pytest.mark.parametrize("consumer", [views()["order"], tables()["order_lines"]], ids=lambda c: c.kind)
def test_a_store_that_comes_back_with_an_older_state_is_read_for_again(consumer: View | Table) -> None:
    """As after a crash that lost what had been acknowledged last, or a failover to a replica that was behind."""
    store = MemoryStore()
    feed = running(store, consumer)
    feed.handle(told(ORDERS[:1]))
    kept = copy.deepcopy(store.__dict__)
    later = other(ORDERS, "later")
    feed.handle(told(later[:1], start=1))
    feed.recheck()
    assert not feed.has_detached
    store.__dict__.update(kept)
    feed.recheck()
    assert feed.due() == {PLACE: 1}, "and no other event need come for that"
    feed.replay(told(later[:2], start=1))
    assert store.positions_by_lane[LaneId(consumer_id(consumer), 0)] == 3


def test_a_log_that_has_gone_back_is_noticed_and_not_read_past(caplog: pytest.LogCaptureFixture) -> None:
    """As after the topic was restored from an older copy, and written to again: offsets mean something else."""
    store = MemoryStore()
    records = [one._replace(leader_epoch=7) for one in records_of(ORDERS[:1])]
    running(store).handle([batch_of(records, TOPIC)])
    feed = running(store)
    others = [one._replace(leader_epoch=6) for one in records_of(other(ORDERS, "another")[:1], start=1)]
    feed.handle([batch_of(others, TOPIC)])
    assert (store.positions_by_lane[LANE], feed.has_detached) == (1, True)
    assert "the topic's log has gone back" in caplog.text
    newer_leader = [one._replace(leader_epoch=8) for one in records_of(ORDERS[1:2], start=1)]
    running(store).handle([batch_of(newer_leader, TOPIC)])
    assert store.positions_by_lane[LANE] == 2


def test_what_was_dropped_while_a_generation_was_made_is_not_left_parked_in_it() -> None:
    store = MemoryStore()
    events = [ORDERS[0], ORDERS[2], ORDERS[1]]
    running(store).handle(told(events))
    assert [one.offset for one in parked(store)] == [1, 2]
    store.drop(LANE, 1, "broken")
    feed = running(store)
    feed.carry_out(fetching(records=records_of(events)))
    assert (status(store), parked(store)) == ("confirmed", [])


def test_what_was_retried_or_passed_in_the_live_generation_is_so_in_a_rebuilt_one() -> None:
    """Live applied the parked events later than where they are in the topic."""
    events = [ORDERS[0], ORDERS[2], ORDERS[1], *other([ORDERS[1]._replace(version=1)], "wrong")]
    fetch = fetching(records=records_of(events))
    live, rebuilt = MemoryStore(), MemoryStore()
    feed = running(live)
    feed.handle(told(events))
    live.asked = [Request("1", LANE, "retry", ORDER), Request("2", LANE, "pass", "")]
    feed.carry_out(fetch)
    replayed = running(rebuilt)
    replayed.handle(told(events))
    assert rebuilt.rows != live.rows
    replayed.match(PLACE, live.progress([LANE])[LANE], fetch)
    assert (rebuilt.rows, rebuilt.versions) == (live.rows, live.versions)
    # Since when is not the topic's to say.
    assert [one[:-1] for one in parked(rebuilt)] == [one[:-1] for one in parked(live)]


def test_lanes_that_are_far_behind_are_detached_and_the_others_do_not_wait() -> None:
    store = MemoryStore()
    order, customers = views()["order"], views()["customer_orders"]
    store.positions_by_lane[LANE] = feeds.CLOSE + 1
    feed = Feed("test", [order, customers], store, CODEC)
    assert feed.assign([PLACE]) == {PLACE: feeds.CLOSE + 1}
    assert feed.due() == {PLACE: 0}


def test_a_new_view_catches_up_beside_the_others_and_is_taken_back() -> None:
    store = MemoryStore()
    order, new = views()["order"], views()["customer_orders"]
    events = [other(ORDERS, f"order-{n}")[0] for n in range(feeds.CLOSE + 10)]
    running(store, order).handle(told(events))
    feed = running(store, order, new)
    feed.replay(told(events[:5]))
    assert feed.attach({PLACE: len(events)}) == {}
    feed.replay(told(events[5:100], start=5))
    assert feed.attach({PLACE: len(events)}) == {PLACE: 100}
    feed.handle(told(events[100:], start=100))
    assert store.positions_by_lane[LaneId(consumer_id(new), 0)] == len(events)
    assert not feed.has_detached


def test_batches_of_a_revoked_partition_are_ignored() -> None:
    store = MemoryStore()
    feed = running(store)
    feed.revoke([PLACE])
    feed.handle(told(ORDERS))
    assert store.positions_by_lane == {}


def test_an_unavailable_store_raises_and_the_same_batch_can_be_handed_over_again() -> None:
    class Down(MemoryStore):
        down = True

        def apply(self, writes: Sequence[Write]) -> dict[LaneId, Exception]:
            if self.down:
                raise ConnectionError
            return super().apply(writes)

    store = Down()
    feed = running(store)
    with pytest.raises(ConnectionError):
        feed.handle(told(ORDERS))
    assert not feed.has_detached
    store.down = False
    feed.handle(told(ORDERS))
    assert status(store) == "cancelled"


def test_a_registry_that_is_down_stops_the_feed_and_parks_nothing() -> None:
    def down(schema_id: int) -> str:
        raise TimeoutError("registry")

    store = MemoryStore()
    codec = Codec({name: number for number, name in enumerate(sorted(TYPES), 1)}, down)
    feed = running(store, codec=codec)
    with pytest.raises(TimeoutError):
        feed.batch(PLACE, 0, [record(0, ORDERS[0], b"\x00\x00\x00\x00\x63abc")])
    assert (store.positions_by_lane, parked(store)) == ({}, [])


def test_what_a_reaction_does_not_find_stands_still_alone_and_what_is_before_it_is_applied() -> None:
    store = MemoryStore({"reaction.test": failing(lambda key: key == "missing", NotYet("no order"))})
    feed = running(store, REACTION, views()["order"])
    events = [other(ORDERS, key)[0] for key in ("a", "missing", "b")]
    feed.handle(told(events))
    assert (store.positions_by_lane[REACTING], store.positions_by_lane[LANE]) == (1, 3)
    assert [event.key for event in store.events[REACTING]] == ["a"]
    feed.handle([batch(ORDERS[:1], TOPIC, partition=1)])
    assert store.positions_by_lane[LaneId("reaction.test", 1)] == 1, "another partition goes on"
    assert feed.attach({PLACE: 3}) == {}, "it is not taken back before it goes on"


def test_what_a_reaction_finds_later_is_applied_then_and_the_lane_is_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feeds, "FIRST_PAUSE_S", 0.0)
    missing = {"missing"}
    store = MemoryStore({"reaction.test": failing(lambda key: key in missing, NotYet("no order"))})
    feed = running(store, REACTION)
    events = [other(ORDERS, key)[0] for key in ("missing", "b")]
    feed.handle(told(events))
    missing.clear()
    assert feed.due() == {PLACE: 0}
    feed.replay(told(events))
    assert [event.key for event in store.events[REACTING]] == ["missing", "b"]
    assert feed.attach({PLACE: 2}) == {}
    assert not feed.has_detached


def test_what_a_reaction_never_finds_is_parked_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(feeds, "PATIENCE_S", -1.0)
    store = MemoryStore({"reaction.test": failing(lambda key: key == "missing", NotYet("no order"))})
    feed = running(store, REACTION)
    events = [other(ORDERS, key)[0] for key in ("missing", "b")]
    feed.handle(told(events))
    assert parked(store, REACTING) == []
    feed.replay(told(events))
    assert reasons(store, REACTING) == [(0, "NotYet: no order")]
    assert store.positions_by_lane[REACTING] == 2
    assert parked(store, REACTING)[0].cause == "late"
    assert feed.lane(PLACE).counted == 0, "it says nothing about our code"


@pytest.mark.parametrize("is_new", [False, True], ids=["the worker that parked it", "a new worker"])
def test_what_came_too_early_is_tried_again_by_itself_now_and_then(
    monkeypatch: pytest.MonkeyPatch, is_new: bool  # noqa: FBT001
) -> None:
    now, missing = [1_000.0], {"missing"}
    monkeypatch.setattr(feeds, "PATIENCE_S", -1.0)
    monkeypatch.setattr(feeds, "FIRST_PAUSE_S", 0.0)
    store = MemoryStore({"reaction.test": failing(lambda key: key in missing, NotYet("no order"))})
    events = [other(ORDERS, key)[0] for key in ("missing", "also missing", "b")]
    feed, records = running(store, REACTION), records_of(events)
    missing.add("also missing")
    for _ in range(3):
        feed.handle(told(events))
        feed.replay(told(events))
    assert [one.key for one in parked(store, REACTING)] == ["missing", "also missing"]
    feed = running(store, REACTION) if is_new else feed
    monkeypatch.setattr(time, "time", lambda: now[0])
    asked: list[int] = []

    def fetch(place: Place, offsets: Sequence[int]) -> list[Record]:
        asked.extend(offsets)
        return fetching(records=records)(place, offsets)

    for _ in range(3):
        feed.carry_out(fetch)
    assert asked == [1, 0], "not again and again"
    missing.clear()
    now[0] += lanes.LATE_S
    feed.carry_out(fetch)
    assert parked(store, REACTING) == []
    assert sorted(event.key for event in store.events[REACTING]) == ["also missing", "b", "missing"]


def test_those_that_stay_too_early_do_not_keep_others_from_being_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "PATIENCE_S", -1.0)
    monkeypatch.setattr(feeds, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(feeds, "RETRIES_AT_ONCE", 2)
    now, missing = [1_000.0], {"a", "b", "c", "d", "e"}
    store = MemoryStore({"reaction.test": failing(lambda key: key in missing, NotYet("no order"))})
    events = [other(ORDERS, key)[0] for key in sorted(missing)]
    feed = running(store, REACTION)
    for _ in range(len(events) + 1):
        feed.handle(told(events))
        feed.replay(told(events))
    assert {one.key for one in parked(store, REACTING)} == missing
    monkeypatch.setattr(time, "time", lambda: now[0])
    missing -= {"c", "d", "e"}
    for _ in range(3):  # looks within one minute
        feed.carry_out(fetching(records=records_of(events)))
        now[0] += 1
    assert {one.key for one in parked(store, REACTING)} == {"a", "b"}


def test_a_poisonous_event_alone_is_parked() -> None:
    store = MemoryStore({"reaction.test": failing(lambda key: key == "poison", KeyError("sku"))})
    running(store, REACTION).handle(told([ORDERS[0], *other(ORDERS, "poison")[:2], ORDERS[1]]))
    assert reasons(store, REACTING) == [(1, "KeyError: 'sku'"), (2, WAITS)]
    assert (store.versions[REACTING], store.positions_by_lane[REACTING]) == ({ORDER: 2}, 4)


def test_a_reaction_gets_only_the_types_that_it_names() -> None:
    store = MemoryStore()
    running(store, replace(REACTION, types=frozenset({"OrderConfirmed"}))).handle(told(ORDERS))
    assert [event.type for event in store.events[REACTING]] == ["OrderConfirmed"]
    assert store.versions[REACTING] == {ORDER: 3}


class TestBreaker:
    """A bad deploy stops a consumer, instead of parking a whole topic."""

    events: ClassVar[list[Event]] = [other(ORDERS, f"order-{n}")[0] for n in range(50)]

    def deployed(self, store: MemoryStore, *, bad: bool) -> Feed:
        store._reactions = {"reaction.test": failing(lambda key: bad, KeyError("sku"))}  # noqa: SLF001
        return running(store, REACTION, views()["order"])

    def test_after_some_failures_of_our_own_code_a_consumer_stops_and_the_others_go_on(self) -> None:
        store = MemoryStore()
        feed = self.deployed(store, bad=True)
        feed.handle(told(self.events))
        assert len(parked(store, REACTING)) == MOST_FAILED
        assert (store.positions_by_lane[REACTING], store.positions_by_lane[LANE]) == (MOST_FAILED, 50)
        assert feed.has_detached

    def test_it_counts_from_the_store_so_that_a_restart_parks_no_more(self) -> None:
        store = MemoryStore()
        for _ in range(3):
            feed = self.deployed(store, bad=True)
            feed.replay(told(self.events))
            feed.handle(told(self.events))
        assert len(parked(store, REACTING)) == MOST_FAILED

    def test_after_the_fix_it_goes_on_by_itself_and_what_was_parked_is_tried_again_in_order(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = MemoryStore()
        self.deployed(store, bad=True).handle(told(self.events))
        for module in (lanes, stores):
            monkeypatch.setattr(module, "fingerprint", lambda: "fixed")
        feed = self.deployed(store, bad=False)
        feed.handle(told(self.events))
        feed.replay(told(self.events))
        feed.carry_out(fetching(records=records_of(self.events)))
        assert parked(store, REACTING) == []
        assert sorted(event.key for event in store.events[REACTING]) == sorted(e.key for e in self.events)
        assert store.positions_by_lane[REACTING] == 50

    def test_what_waits_and_what_is_foreign_is_not_counted(self) -> None:
        store = MemoryStore()
        foreign = [Record(offset, b"key-%d" % offset, b"{}", []) for offset in range(20)]
        running(store).handle([batch_of(foreign, TOPIC)])
        assert store.positions_by_lane[LANE] == 20
        waiting = [event._replace(version=event.version + 1) for event in ORDERS] * 5
        running(store).handle(told(waiting, start=20))
        assert store.positions_by_lane[LANE] == 35

    def test_a_table_and_a_view_stop_as_well(self) -> None:
        def fails(*arguments: object) -> Any:
            raise KeyError("sku")

        for consumer in (replace(views()["order"], fold=fails), replace(tables()["orders"], rows=fails)):
            store = MemoryStore()
            running(store, consumer).handle(told(self.events))
            lane = LaneId(consumer_id(consumer), 0)
            assert (len(parked(store, lane)), store.positions_by_lane[lane]) == (MOST_FAILED, MOST_FAILED)

    def test_an_operator_can_let_it_pass(self) -> None:
        store = MemoryStore()
        feed = self.deployed(store, bad=True)
        feed.handle(told(self.events))
        store.asked = [Request("1", REACTING, "pass", "")]
        feed.carry_out(fetching())
        feed.replay(told(self.events))
        assert store.positions_by_lane[REACTING] == 2 * MOST_FAILED
        assert store.asked == []


def test_what_other_code_left_parked_is_tried_once_the_broker_answers() -> None:
    """That is what starting other code promises: a broker that is away for a moment must not break it."""
    store = MemoryStore({"reaction.test": failing(lambda key: True, KeyError("sku"))})
    running(store, REACTION).handle(told(ORDERS[:1]))
    store.parked_events[REACTING][0] = parked(store, REACTING)[0]._replace(code="older")
    store._reactions = {}  # noqa: SLF001
    feed = running(store, REACTION)

    def away(place: Place, offsets: Sequence[int]) -> list[Record]:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        feed.carry_out(away)
    feed.carry_out(fetching(records=records_of(ORDERS[:1])))
    assert (parked(store, REACTING), [event.version for event in store.events[REACTING]]) == ([], [1])


def test_offsets_may_be_missing_where_a_position_is() -> None:
    """A batch that is halved there has nothing for the lane in its first half."""
    batch_with_hole = batch_of(
        [record(0, ORDERS[0]), record(7, ORDERS[1]), record(8, ORDERS[2])], TOPIC
    )
    first, second = batch_with_hole.halves()
    store = MemoryStore()
    feed = running(store)
    feed.handle(told(ORDERS[:1]))
    feed.handle([first])
    feed.handle([second])
    assert (status(store), store.positions_by_lane[LANE]) == ("cancelled", 9)


class TestRequests:
    """What operators want of parked events is done by the partition's owner, between two batches."""

    def test_a_retry_applies_the_events_of_an_aggregate_in_order_of_version(self) -> None:
        store = MemoryStore()
        poison = {ORDER}
        store._reactions = {"reaction.test": failing(lambda key: key in poison, KeyError("sku"))}  # noqa: SLF001
        feed = running(store, REACTION)
        # The relay may send a run of events again: offsets need not be in the order of versions.
        events = [ORDERS[0], ORDERS[1], ORDERS[0], ORDERS[2]]
        feed.handle(told(events))
        poison.clear()
        store.asked = [Request("1", REACTING, "retry", ORDER)]
        feed.carry_out(fetching(records=records_of(events)))
        assert [event.version for event in store.events[REACTING]] == [1, 2, 3]
        assert (parked(store, REACTING), store.asked) == ([], [])
        feed.handle(told(other(ORDERS, "next")[:1], start=4))
        assert store.positions_by_lane[REACTING] == 5

    def test_a_retry_that_fails_again_keeps_all_parked_with_the_new_reason(self) -> None:
        store = MemoryStore()
        store._reactions = {"reaction.test": failing(lambda key: True, KeyError("sku"))}  # noqa: SLF001
        feed = running(store, REACTION)
        feed.handle(told(ORDERS))
        store._reactions = {"reaction.test": failing(lambda key: True, ValueError("still"))}  # noqa: SLF001
        store.asked = [Request("1", REACTING, "retry", ORDER)]
        feed.carry_out(fetching(records=records_of(ORDERS)))
        assert reasons(store, REACTING) == [(0, "ValueError: still"), (1, WAITS), (2, WAITS)]

    @pytest.mark.parametrize("consumer", [views()["order"], tables()["orders"], REACTION], ids=consumer_id)
    def test_a_dropped_event_is_skipped_and_those_behind_it_are_applied(self, consumer: Consumer) -> None:
        store = MemoryStore()
        lane = LaneId(consumer_id(consumer), 0)
        feed = running(store, consumer)
        records = [record(0, ORDERS[0]), newer(1, ORDERS[1], TOPIC), record(2, ORDERS[2])]
        feed.handle([batch_of(records, TOPIC)])
        assert [one.offset for one in parked(store, lane)] == [1, 2]
        store.ask([Request("1", lane, "drop", ORDER, "not ours", 1)])
        feed.carry_out(fetching(records=records))
        assert parked(store, lane) == []
        assert {offset: fact.reason for offset, fact in store.dropped(lane).items()} == {1: "not ours"}

    def test_a_drop_that_is_carried_out_twice_drops_one_event(self) -> None:
        """As when a worker dies before it has said that it is done."""
        store = MemoryStore()
        feed = running(store)
        records = [record(0, ORDERS[0]), newer(1, ORDERS[1], TOPIC), newer(2, ORDERS[2], TOPIC)]
        feed.handle([batch_of(records, TOPIC)])
        for _ in range(2):
            store.ask([Request("1", LANE, "drop", ORDER, "not ours", 1)])
            feed.carry_out(fetching(records=records))
        assert ([one.offset for one in parked(store)], list(store.dropped(LANE))) == ([2], [1])

    def test_a_request_for_what_is_not_in_the_topic_keeps_no_other_from_being_carried_out(self) -> None:
        store = MemoryStore()
        feed = running(store)
        records = [newer(0, ORDERS[0], TOPIC), newer(1, ORDERS[0]._replace(key="other"), TOPIC)]
        feed.handle([batch_of(records, TOPIC)])

        def fetch(place: Place, offsets: Sequence[int]) -> list[Record]:
            if 0 in offsets:
                raise LookupError("no record at 0")
            return [records[offset] for offset in offsets]

        store.ask([Request("1", LANE, "retry", ORDER), Request("2", LANE, "drop", "other", "not ours", 1)])
        feed.carry_out(fetch)
        assert ([one.offset for one in parked(store)], store.asked) == ([0], [])

    def test_a_dropped_record_that_could_not_be_decoded_takes_the_version_that_its_envelope_says(self) -> None:
        store = MemoryStore()
        feed = running(store)
        records = [record(0, ORDERS[0]), record(1, ORDERS[1], b"torn"), record(2, ORDERS[2])]
        feed.handle([batch_of(records, TOPIC)])
        store.ask([Request("1", LANE, "drop", ORDER, "not ours", 1)])
        feed.carry_out(fetching(records=records))
        assert (parked(store), store.versions[LANE], status(store)) == ([], {ORDER: 3}, "cancelled")

    def test_after_a_gap_a_dropped_event_gives_up_what_is_missing(self) -> None:
        store = MemoryStore()
        feed = running(store)
        placed, confirmed, cancelled = ORDERS
        events = [placed, confirmed._replace(version=4), cancelled._replace(version=5)]
        feed.handle(told(events))
        store.ask([Request("1", LANE, "drop", ORDER, "2 and 3 are lost", 1)])
        feed.carry_out(fetching(records=records_of(events)))
        assert (parked(store), store.versions[LANE], status(store)) == ([], {ORDER: 5}, "cancelled")

    def test_after_a_gap_a_dropped_record_that_is_no_event_leaves_the_version(self) -> None:
        store = MemoryStore()
        feed = running(store)
        records = [record(0, ORDERS[0]), record(1, ORDERS[0]._replace(version=99), b"torn"), record(2, ORDERS[1])]
        feed.handle([batch_of(records, TOPIC)])
        store.ask([Request("1", LANE, "drop", ORDER, "not ours", 1)])
        feed.carry_out(fetching(records=records))
        assert (parked(store), store.versions[LANE], status(store)) == ([], {ORDER: 2}, "confirmed")

    def test_a_replay_heeds_what_was_dropped(self) -> None:
        store = MemoryStore()
        records = [record(0, ORDERS[0]), newer(1, ORDERS[1], TOPIC), record(2, ORDERS[2])]
        store.drop(LANE, 1, "not ours")
        running(store).handle([batch_of(records, TOPIC)])
        assert (parked(store), status(store), store.versions[LANE]) == ([], "cancelled", {ORDER: 3})


def held(feed: Feed) -> int:
    """Bytes of the rows that the feed's lane remembers."""
    return sum(len(orjson.dumps(row)) for row in feed.lane(PLACE)._rows.values())  # noqa: SLF001  # their only trace


@pytest.mark.parametrize("changes", [True, False], ids=["rows that change", "rows that stay as they are"])
def test_small_events_that_need_large_rows_do_not_read_or_remember_too_many_at_once(
    monkeypatch: pytest.MonkeyPatch, *, changes: bool
) -> None:
    monkeypatch.setattr(lanes, "REMEMBERED_BYTES", 50_000)
    monkeypatch.setattr(lanes, "READ_BYTES", 100_000)
    read: list[int] = []
    orders = views()["order"]
    view = orders if changes else replace(orders, fold=lambda row, event: row or orders.fold(row, event))

    class Measured(MemoryStore):
        def read(self, wanted: Mapping[LaneId, Wanted]) -> Mapping[LaneId, Known]:
            known = super().read(wanted)
            read.append(sum(one.rows_bytes for one in known.values()))
            return known

    placed, confirmed, _ = ORDERS
    large = placed._replace(data=placed.data | {"lines": placed.data["lines"] * 50})
    confirmed = confirmed._replace(data=confirmed.data | {"units": confirmed.data["units"] * 50})
    keys = [f"order-{n}" for n in range(100)]
    store = Measured()
    feed = running(store, view)
    for start, key in enumerate(keys):
        feed.handle(told(other([large], key), start=start))
        assert held(feed) <= 2 * lanes.REMEMBERED_BYTES
    assert sum(map(len, store.rows[LANE].values())) > 5 * lanes.READ_BYTES
    feed = running(store, view)
    feed.handle(told([other([confirmed], key)[0] for key in keys], start=len(keys)))
    assert store.versions[LANE] == dict.fromkeys(keys, 2)
    assert {status(store, key) for key in keys} == {"confirmed" if changes else "placed"}
    assert max(read) <= lanes.READ_BYTES
    assert held(feed) <= lanes.REMEMBERED_BYTES + lanes.READ_BYTES


def test_what_a_lane_remembers_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "REMEMBERED_BYTES", 10_000)
    store = MemoryStore()
    feed = running(store)
    for n in range(100):
        feed.handle(told([other(ORDERS, f"order-{n}-{i}")[0] for i in range(10)], start=10 * n))
        lane = feed.lane(PLACE)
        assert len(lane._versions) < 200  # noqa: SLF001  # its only trace
    assert len(store.rows[LANE]) == 1_000


@given(
    st.lists(st.sampled_from(["a", "b", "c"]), max_size=12),
    st.randoms(use_true_random=False),
    st.integers(1, 5),
)
def test_any_repetition_and_any_batching_give_the_rows_of_the_plain_life(
    keys: list[str], random: object, size: int
) -> None:
    """Debezium sends runs of events again after a restart; workers restart anywhere."""
    lives = {key: iter(other(ORDERS, key)) for key in "abc"}
    events = [event for event in (next(lives[key], None) for key in keys) if event]
    plain = MemoryStore()
    running(plain).handle(told(events) if events else [])
    again = events + events[len(events) // 2 :]
    store = MemoryStore()
    for start in range(0, len(again), size):
        running(store).handle(told(again[start : start + size], start=start))
    assert store.rows[LANE] == plain.rows[LANE]
    assert not parked(store)


@given(st.integers(2, 9))
def test_halves_of_a_batch_follow_each_other_without_gap_or_double(count: int) -> None:
    """Offsets may be missing in between."""
    items = [Item(7 + 3 * n, "", 0, None, 0) for n in range(count)]
    first, second = Batch(PLACE, 5, 40, items).halves()
    assert (first.start, first.end, second.end) == (5, second.start, 40)
    assert [*first.items, *second.items] == items
    assert all(item.offset < first.end for item in first.items)


def test_fingerprints_tell_code_apart() -> None:
    assert code.fingerprint() == code.fingerprint()
    order, customers = views()["order"], views()["customer_orders"]
    assert fold_of(order) != fold_of(customers)
