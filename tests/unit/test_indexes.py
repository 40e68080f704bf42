"""Indexes: entries are in the order of what they are made of, and are at all times those of the rows."""

import pickle
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.services import views
from kernel.code import ROOT
from kernel.limits import MAX_NUMBER
from schemas.event import Event
from streams.engine import indexes
from streams.engine.batch import Place, Record
from streams.engine.consumer import Row, SortKey, View, consumer_id
from streams.engine.feed import Feed
from streams.engine.folds import fold_of
from streams.engine.indexes import Range, entries_of, parts_of
from streams.engine.stores import LaneId, Request
from tests.events import CODEC, batch, life, record
from tests.memory_store import MemoryStore

INDEXED = [view for view in views().values() if view.indexes]
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3)
numbers = st.integers(0, MAX_NUMBER)


def entry(key: str, *sort_key: str | int, index: str = "i") -> str:
    [made] = entries_of({index: lambda row: [sort_key]}, key, {})
    return made


def found(entries: Iterable[str], wanted: Range, behind: str | None = None) -> list[str]:
    lower, upper = wanted.bounds(behind)
    inside = sorted((one for one in entries if lower < one < upper), reverse=wanted.descending)
    return [parts_of(one)[-1] for one in inside]


@given(st.lists(st.tuples(texts, numbers, texts), max_size=6))
def test_entries_are_in_the_order_of_their_parts_as_bytes(rows: list[tuple[str, int, str]]) -> None:
    made = sorted(entry(key, text, number).encode() for text, number, key in rows)
    ordered = sorted(rows, key=lambda row: (row[0].encode(), row[1], row[2].encode()))
    assert made == [entry(key, text, number).encode() for text, number, key in ordered]


@given(st.lists(st.tuples(texts, numbers)), numbers, numbers)
def test_a_range_has_what_is_at_its_lower_bound_or_above_and_below_its_upper_one(
    rows: list[tuple[str, int]], low: int, high: int
) -> None:
    entries = {entry(f"{text}{n}", text, n) for text, n in rows}
    for text in {text for text, _ in rows}:
        inside = {f"{text}{n}" for other, n in rows if other == text and low <= n < high}
        assert set(found(entries, Range("i", (text,), low, high))) == inside
        assert found(entries, Range("i", (text,), low, high, descending=True)) == sorted(
            found(entries, Range("i", (text,), low, high)), key=lambda key: int(key[len(text) :]), reverse=True
        )


def test_the_largest_number_is_told_apart_from_the_one_below() -> None:
    entries = [entry(str(n), n) for n in (0, MAX_NUMBER - 1, MAX_NUMBER)]
    assert found(entries, Range("i", high=MAX_NUMBER)) == ["0", str(MAX_NUMBER - 1)]
    assert found(entries, Range("i", low=MAX_NUMBER)) == [str(MAX_NUMBER)]


def test_neither_another_index_nor_another_beginning_is_in_a_range() -> None:
    entries = [entry("a", "ada", "1"), entry("b", "adam", "1"), entry("c", "ada", "1", index="i2"), entry("d", "ad", "1")]
    assert found(entries, Range("i", ("ada",))) == ["a"]
    assert found(entries, Range("i")) == ["d", "a", "b"]


@given(st.lists(st.tuples(numbers, texts), unique=True), st.booleans())
def test_places_lead_through_a_range_without_gap_or_double(rows: list[tuple[int, str]], descending: bool) -> None:  # noqa: FBT001
    entries = {entry(key, n) for n, key in rows}
    wanted = Range("i", descending=descending)
    whole, after, walked = found(entries, wanted), None, []
    for _ in rows:
        rest = found(entries, wanted, after)
        walked.append(rest[0])
        lower, upper = wanted.bounds(after)
        nearest = (max if descending else min)(one for one in entries if lower < one < upper)
        after = wanted.place(nearest)
    assert walked == whole
    assert not rows or found(entries, wanted, after) == []


def test_a_place_that_is_made_up_leads_out_of_no_range() -> None:
    entries = [entry(str(n), n) for n in range(9)]
    assert found(entries, Range("i", low=3, high=6), behind="") == ["3", "4", "5"]
    assert found(entries, Range("i", low=3, high=6, descending=True), behind="x") == ["5", "4", "3"]


@pytest.mark.parametrize("sort_key", [("a\0b",), (-1,), (MAX_NUMBER + 1,)])
def test_what_would_be_out_of_order_is_refused(sort_key: SortKey) -> None:
    with pytest.raises(ValueError, match="an index"):
        entry("key", *sort_key)
    with pytest.raises(ValueError, match="an index"):
        entry("a\0key", "a")


@pytest.mark.parametrize("view", INDEXED, ids=lambda view: view.name)
def test_a_view_with_indexes_can_be_handed_to_the_processes_of_a_rebuild(view: View) -> None:
    again, row, found = pickle.loads(pickle.dumps(view)), None, 0  # noqa: S301  # our own
    for event in life(view.topic):
        row = view.fold(row, event)
        entries = entries_of(view.indexes, event.key, row)
        assert entries_of(again.indexes, event.key, row) == entries
        found += len(entries)
    assert found


@pytest.mark.parametrize("view", INDEXED, ids=lambda view: view.name)
def test_a_row_of_older_code_that_lacks_what_an_index_needs_stops_nothing(view: View) -> None:
    first, second, *_ = life(view.topic)
    old = replace(view, indexes={}, fold=lambda row, event: {"version": event.version, "steps": []})
    store, lane = MemoryStore(), LaneId(consumer_id(view), 0)
    for running, offset, event in ((old, 0, first), (view, 1, second)):
        feed = Feed("test", [running], store, CODEC)
        feed.assign([Place(view.topic, 0)])
        feed.handle([batch([event], view.topic, offset)])
    assert store.parked(lane) == []
    assert store.entries[lane] == entries_of(view.indexes, second.key, orjson.loads(store.rows[lane][second.key]))


@pytest.mark.parametrize("view", INDEXED, ids=lambda view: view.name)
def test_other_code_of_entries_is_another_fold(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fold_of(view)
    assert before != fold_of(replace(view, indexes={}))
    changed = ROOT / "streams" / "engine" / "lane.py"  # some other code
    monkeypatch.setattr(indexes, "__file__", str(changed))
    assert fold_of(view) != before


#: The n-th event of an aggregate, told in any order and as often as may be, and what happens after it.
steps = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 3),
        st.sampled_from(["", "x", "y"]),
        st.sampled_from(["more", "handle", "restart", "retry", "mend"]),
    ),
    max_size=12,
)


def other(event: Event, key: str, text: str) -> Event:
    """The event of another aggregate, whose texts are others."""
    own = {name: key for name in ("sku", "order_id") if name in event.data}
    texts = {name: text for name in ("department", "brand") if name in event.data}
    return event._replace(key=key, data=event.data | own | texts)


def failing(view: View, broken: dict[str, set[Any]]) -> View:
    """The view, whose fold fails on some keys, and whose indexes fail on some versions, for as long as these are there."""

    def fold(row: Row | None, event: Event) -> Row | None:
        if event.key in broken["fold"]:
            raise RuntimeError(event.key)
        return view.fold(row, event)

    def index(row: Row) -> Iterable[SortKey]:
        if row["version"] in broken["index"]:
            raise RuntimeError(row["version"])
        return [(row["version"],)]

    return replace(view, fold=fold, indexes={**view.indexes, "version": index})


@pytest.mark.parametrize("view", INDEXED, ids=lambda view: view.name)
@given(steps, st.sets(st.sampled_from("abc")), st.sets(st.integers(2, 4)))
def test_entries_are_those_of_the_rows_whatever_is_parked_retried_repeated_or_failing(
    view: View, told: list[tuple[str, int, str, str]], folds: set[str], versions: set[int]
) -> None:
    lives = life(view.topic)
    events = [other(lives[min(n, len(lives) - 1)], key, text) for key, n, text, _ in told]
    records = [record(offset, event) for offset, event in enumerate(events)]
    broken: dict[str, set[Any]] = {"fold": folds, "index": versions}
    tried, store = failing(view, broken), MemoryStore()
    lane, place = LaneId(consumer_id(view), 0), Place(view.topic, 0)

    def fetch(place: Place, offsets: Sequence[int]) -> list[Record]:
        return [records[offset] for offset in offsets]

    def running() -> Feed:
        feed = Feed("test", [tried], store, CODEC)
        feed.assign([place])
        return feed

    feed, start = running(), 0
    for end, (*_, then) in enumerate(told, 1):
        if then == "more" and end < len(told):
            continue
        feed.handle([batch(events[start:end], view.topic, start)])
        start = end
        if then == "mend":
            broken.update(fold=set(), index=set())
        if then == "restart":
            feed = running()
        if then in ("retry", "mend"):
            store.asked = [Request(key, lane, "retry", key) for key in "abc"]
            feed.carry_out(fetch)
        rows = {key: orjson.loads(row) for key, row in store.rows[lane].items()}
        indexes = failing(view, {"fold": set(), "index": set()}).indexes
        assert store.entries[lane] == {one for key, row in rows.items() for one in entries_of(indexes, key, row)}
