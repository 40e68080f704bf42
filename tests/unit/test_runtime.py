"""The engine's rules, without any server."""

import copy
from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.services import tables, views
from schemas import order
from schemas.codec import TYPES, Codec
from schemas.event import Event
from streams.engine import runtime
from streams.engine.batch import Batch, Record
from streams.engine.consumer import NotYet, Reaction, Row, Table, View
from streams.engine.runtime import WAITS, Runtime
from streams.engine.stores import Progress, Write
from tests.events import CODEC, ORDER, batch, life, record
from tests.memory_store import MemoryStore

ORDERS = life("marea.order")
#: The store in memory stands for its handler.
REACTION = Reaction(
    "test", "orders", order.TOPIC, lambda cursor, events: None, lambda states: iter(()), "SELECT"
)


def other(events: Sequence[Event], key: str) -> list[Event]:
    """The same life of another aggregate."""
    return [event._replace(key=key, data=event.data | {"order_id": key}) for event in events]


def running(store: MemoryStore, view: View | None = None) -> Runtime:
    runtime = Runtime(view or views()["order"], store, CODEC)
    runtime.assign([0, 1])
    return runtime


def status(store: MemoryStore, key: str = ORDER) -> str:
    return str(orjson.loads(store.rows[0][key])["status"])


def test_a_batch_becomes_rows_versions_and_a_position_in_one_write() -> None:
    store = MemoryStore()
    assert running(store).handle([batch(ORDERS[:2])]) == {}
    assert (status(store), store.versions[0], store.positions[0]) == ("confirmed", {ORDER: 2}, 2)


def test_events_up_to_the_known_version_are_skipped() -> None:
    store = MemoryStore()
    runtime = running(store)
    runtime.handle([batch(ORDERS[:2])])
    runtime.handle([batch([*ORDERS[:2], *ORDERS], start=2)])
    assert (status(store), store.versions[0], store.parked[0]) == ("cancelled", {ORDER: 3}, [])


def test_a_version_gap_parks_the_event_and_the_later_ones_of_its_aggregate_only() -> None:
    store = MemoryStore()
    bystander = other(ORDERS, "bystander")
    running(store).handle([batch([ORDERS[0], bystander[0], ORDERS[2], ORDERS[1], bystander[1]])])
    assert [(p.offset, p.reason) for p in store.parked[0]] == [(2, "gap: version 3 after version 1"), (3, WAITS)]
    assert (status(store), status(store, "bystander"), store.positions[0]) == ("placed", "confirmed", 5)


def test_an_aggregate_with_parked_events_waits_in_later_batches_and_after_a_restart() -> None:
    store = MemoryStore()
    runtime = running(store)
    runtime.handle([batch([ORDERS[1]])])
    runtime.handle([batch([ORDERS[0]], start=1)])
    running(store).handle([batch([ORDERS[0]], start=2)])
    assert [p.reason for p in store.parked[0]] == ["gap: version 2 after version 0", WAITS, WAITS]


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
    running(store).handle([Batch(0, 0, 3, records)])
    assert reason in store.parked[0][0].reason
    assert (status(store), status(store, "next"), store.positions[0]) == ("placed", "placed", 3)


def test_a_record_without_key_or_value_is_parked() -> None:
    store = MemoryStore()
    running(store).handle([Batch(0, 0, 1, [Record(0, None, None, [])])])
    assert store.positions[0] == 1
    assert store.parked[0][0].key == "unreadable:"


def test_a_fold_that_raises_parks_its_event() -> None:
    store = MemoryStore()
    running(store).handle([batch([ORDERS[1]._replace(version=1), other(ORDERS, "next")[0]])])
    assert store.parked[0][0].reason == "ValueError: OrderConfirmed of an order that was not placed"
    assert status(store, "next") == "placed"


def test_a_row_that_can_not_be_stored_parks_its_event_alone() -> None:
    def fold(row: Row | None, event: Event) -> Row | None:
        return {"big": 2**80 if event.key == ORDER else 1}

    store = MemoryStore()
    view = View("big", order.TOPIC, fold, expected=lambda states: iter(()))
    running(store, view).handle([batch([other(ORDERS, "a")[0], *ORDERS, other(ORDERS, "b")[0]])])
    assert sorted(store.rows[0]) == ["a", "b"]
    assert [parked.offset for parked in store.parked[0]] == [1, 2, 3]


def test_a_batch_after_the_position_is_not_applied_and_read_again() -> None:
    store = MemoryStore()
    assert running(store).handle([batch(ORDERS, start=4)]) == {0: 0}
    assert store.positions == {}


def test_a_batch_before_the_position_is_ignored_and_one_across_it_applied_from_there() -> None:
    store = MemoryStore()
    runtime = running(store)
    runtime.handle([batch(ORDERS[:2])])
    assert runtime.handle([batch(ORDERS[:2])]) == {}
    assert runtime.handle([batch(ORDERS)]) == {}
    assert (status(store), store.positions[0]) == ("cancelled", 3)


def test_a_zombie_is_refused_reloads_and_reads_on_from_the_stored_position() -> None:
    store = MemoryStore()
    zombie, owner = running(store), running(store)
    owner.handle([batch(ORDERS[:1])])
    assert zombie.handle([batch(ORDERS)]) == {0: 1}
    assert status(store) == "placed"
    assert zombie.handle([batch(ORDERS[1:], start=1)]) == {}
    assert (status(store), store.versions[0]) == ("cancelled", {ORDER: 3})


@pytest.mark.parametrize("consumer", [views()["order"], tables()["order_lines"]], ids=lambda c: c.kind)
def test_a_store_that_comes_back_with_an_older_state_is_read_for_again(consumer: View | Table) -> None:
    """As after a crash that lost what had been acknowledged last, or a failover to a replica that was behind."""
    store = MemoryStore()
    runtime = Runtime(consumer, store, CODEC)
    runtime.assign([0])
    runtime.handle([batch(ORDERS[:1])])
    assert runtime.recheck() == {}
    kept = copy.deepcopy(store.__dict__)
    runtime.handle([batch(other(ORDERS, "later")[:1], start=1)])
    assert runtime.recheck() == {}
    store.__dict__.update(kept)
    assert runtime.recheck() == {0: 1}
    runtime.handle([batch(other(ORDERS, "later")[:1], start=1)])
    assert store.positions[0] == 2


def test_events_without_rows_do_not_make_a_table_read_again() -> None:
    """Their position is nowhere in ClickHouse."""

    class Rowless(MemoryStore):
        def progress(self, partitions: Sequence[int]) -> dict[int, Progress]:
            stored = {p: max((o for o, _ in self.records.get(p, [])), default=-1) + 1 for p in partitions}
            return {p: Progress(stored[p], frozenset()) for p in partitions}

    store = Rowless()
    runtime = Runtime(tables()["order_lines"], store, CODEC)
    runtime.assign([0])
    runtime.handle([batch(ORDERS)])
    assert runtime.recheck() == {}
    assert runtime.positions() == {0: 3}


def test_batches_of_a_revoked_partition_are_ignored() -> None:
    store = MemoryStore()
    runtime = running(store)
    runtime.revoke([0])
    assert runtime.handle([batch(ORDERS)]) == {}
    assert store.positions == {}


def test_an_unavailable_store_raises_and_the_same_batch_can_be_handed_over_again() -> None:
    class Down(MemoryStore):
        down = True

        def apply(self, writes: Sequence[Write]) -> set[int]:
            if self.down:
                raise ConnectionError
            return super().apply(writes)

    store = Down()
    runtime = running(store)
    with pytest.raises(ConnectionError):
        runtime.handle([batch(ORDERS)])
    store.down = False
    runtime.handle([batch(ORDERS)])
    assert status(store) == "cancelled"


def test_a_registry_that_is_down_stops_the_consumer_and_parks_nothing() -> None:
    def down(schema_id: int) -> str:
        raise TimeoutError("registry")

    store = MemoryStore()
    codec = Codec({name: number for number, name in enumerate(sorted(TYPES), 1)}, down)
    runtime = Runtime(views()["order"], store, codec)
    runtime.assign([0])
    with pytest.raises(TimeoutError):
        runtime.handle([Batch(0, 0, 1, [record(0, ORDERS[0], b"\x00\x00\x00\x00\x63abc")])])
    assert (store.positions, store.parked) == ({}, {})


def test_what_a_reaction_does_not_find_is_tried_again_and_parked_at_last_without_what_is_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def react(events: Sequence[Event]) -> None:
        if any(event.key.startswith("missing") for event in events):
            raise NotYet

    def one(key: str) -> Event:
        return other(ORDERS, key)[0]

    monkeypatch.setattr(runtime, "TRIES", 3)
    store = MemoryStore(react)
    reacting = Runtime(REACTION, store, CODEC)
    reacting.assign([0, 1])
    batches = [batch([one("a"), one("missing1")]), batch([one("missing2"), one("b")], partition=1)]
    for _ in range(2):
        with pytest.raises(NotYet):
            reacting.handle(batches)
    reacting.revoke([2])  # the batches may have gone to somebody else: patience begins anew
    for _ in range(2):
        with pytest.raises(NotYet):
            reacting.handle(batches)
    assert reacting.handle(batches) == {}
    assert [one.key for p in (0, 1) for one in store.parked[p]] == ["missing1", "missing2"]
    assert [event.key for event in store.events] == ["a", "b"]
    with pytest.raises(NotYet):
        reacting.handle([batch([one("missing3")], start=2)])


def test_a_reaction_gets_all_partitions_in_one_call_and_a_poisonous_event_alone_is_parked() -> None:
    calls = []

    def react(events: Sequence[Event]) -> None:
        calls.append([(event.key, event.version) for event in events])
        if any(event.key == "poison" for event in events):
            raise KeyError("sku")

    store = MemoryStore(react)
    reaction = REACTION
    runtime = Runtime(reaction, store, CODEC)
    runtime.assign([0, 1])
    runtime.handle([batch(ORDERS[:1]), batch(other(ORDERS, "elsewhere")[:1], partition=1)])
    assert calls == [[(ORDER, 1), ("elsewhere", 1)]]
    runtime.handle([batch([*other(ORDERS, "poison")[:2], ORDERS[1]], start=1)])
    assert [(parked.offset, parked.reason) for parked in store.parked[0]] == [(1, "KeyError: 'sku'"), (2, WAITS)]
    assert (store.versions[0], store.positions[0]) == ({ORDER: 2}, 4)


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
    told = [event for event in (next(lives[key], None) for key in keys) if event]
    plain = MemoryStore()
    running(plain).handle([batch(told)] if told else [])
    again = told + told[len(told) // 2 :]
    store = MemoryStore()
    for start in range(0, len(again), size):
        running(store).handle([batch(again[start : start + size], start=start)])
    assert store.rows.get(0, {}) == plain.rows.get(0, {})
    assert not store.parked.get(0)
