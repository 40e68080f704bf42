"""What every view and every table keeps to; a new one is found by itself."""

import copy
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import orjson
import pytest

from api.services import tables, views
from kernel.code import ROOT
from schemas.codec import TYPES
from schemas.event import Event
from streams.engine.batch import Batch, Place
from streams.engine.consumer import Table, View, consumer_id
from streams.engine.feed import Feed
from streams.engine.stores import LaneId
from tests.events import CODEC, ELSEWHERE, LIVES, START, batch, batch_of, life, newer
from tests.memory_store import MemoryStore

every_view = pytest.mark.parametrize("view", views().values(), ids=lambda view: view.name)
every_table = pytest.mark.parametrize("table", tables().values(), ids=lambda table: table.name)
every_consumer = pytest.mark.parametrize(
    "consumer", [*views().values(), *tables().values()], ids=lambda consumer: f"{consumer.kind}.{consumer.name}"
)


def applied(consumer: View | Table, events: Sequence[Event]) -> MemoryStore:
    return fed(consumer, batch(events, consumer.topic))


def fed(consumer: View | Table, told: Batch) -> MemoryStore:
    store = MemoryStore()
    feed = Feed("test", [consumer], store, CODEC)
    feed.assign([Place(consumer.topic, 0)])
    feed.handle([told])
    return store


def lane(consumer: View | Table) -> LaneId:
    return LaneId(consumer_id(consumer), 0)


def test_every_event_type_has_a_life_to_test_with() -> None:
    assert {type_ for lives in LIVES.values() for type_, _, _ in lives} == set(TYPES) - ELSEWHERE


@every_consumer
def test_its_topic_is_one_of_the_contract(consumer: View | Table) -> None:
    assert consumer.topic in {event_type.topic for event_type in TYPES.values()}


@every_view
def test_a_fold_is_pure_and_its_rows_are_json(view: View) -> None:
    row = None
    for event in life(view.topic):
        before, told = copy.deepcopy(row), copy.deepcopy(event)
        first, second = view.fold(row, event), view.fold(row, event)
        assert (row, event) == (before, told), "the fold changed what it was given"
        assert orjson.dumps(first) == orjson.dumps(second)
        row = first
    assert row is not None


@every_table
def test_rows_are_pure_and_have_just_the_columns_of_the_sql_file(table: Table) -> None:
    statement = (ROOT / table.columns).read_text()
    columns = [line.split()[0] for line in statement.splitlines() if line.startswith("    ")]
    made = 0
    for event in life(table.topic):
        told = copy.deepcopy(event)
        rows = table.rows(event)
        assert rows == table.rows(event)
        assert event == told, "rows() changed what it was given"
        for row in rows:
            assert sorted([*row, "_topic", "_partition", "_offset"]) == sorted(columns)
        made += len(rows)
    assert made
    assert "PARTITION BY" not in statement, "an insert into several parts is not kept whole or not at all"


@every_consumer
def test_an_event_of_a_type_that_only_newer_code_knows_is_parked_and_changes_nothing(consumer: View | Table) -> None:
    first = life(consumer.topic)[0]
    store = fed(consumer, batch_of([newer(0, first, consumer.topic)], consumer.topic))
    at = lane(consumer)
    assert [parked.reason for parked in store.parked(at)] == ["the running code does not know SomethingNew"]
    assert (store.rows[at], store.records[at], store.positions_by_lane[at]) == ({}, [], 1)


@every_view
def test_duplicates_change_nothing(view: View) -> None:
    events = life(view.topic)
    once, twice = applied(view, events), applied(view, [*events, *events])
    assert (once.rows, once.versions) == (twice.rows, twice.versions)
    assert not twice.parked(lane(view))


@every_table
def test_duplicates_give_the_same_rows_again(table: Table) -> None:
    """So that ReplacingMergeTree keeps one of each."""
    events = life(table.topic)
    once = [row for _, row in applied(table, events).records[lane(table)]]
    assert [row for _, row in applied(table, [*events, *events]).records[lane(table)]] == once + once


@every_view
def test_a_gap_parks(view: View) -> None:
    first, *_, last = life(view.topic)
    store = applied(view, [first, last._replace(version=last.version + 1)])
    assert store.versions[lane(view)] == {first.key: 1}
    assert "gap" in store.parked(lane(view))[0].reason


@every_view
def test_two_aggregates_do_not_touch_each_other(view: View) -> None:
    events = life(view.topic)
    strangers = [
        event._replace(key="stranger", data=_renamed(event), occurred_at=START + timedelta(days=event.version))
        for event in events
    ]
    mixed = [event for pair in zip(events, strangers, strict=True) for event in pair]
    alone, together = applied(view, events), applied(view, mixed)
    for key, row in alone.rows[lane(view)].items():
        assert together.rows[lane(view)][key] == row


def _renamed(event: Event) -> Any:
    own = {"sku", "order_id", "customer_id"} & event.data.keys()
    return event.data | dict.fromkeys(own, "stranger")
