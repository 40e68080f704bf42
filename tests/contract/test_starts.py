"""Where a reaction begins that starts now: noted once, in all partitions at once, and nothing is missed from then on."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest

from local.layout import Layout
from ops.databases import admin
from schemas import order
from schemas.event import Event
from streams.engine.batch import Place
from streams.engine.consumer import Reaction
from streams.engine.feed import Feed
from streams.engine.stores import LaneId
from streams.engine.stores.postgres import NotBegun, PostgresStore
from tests.contract.conftest import DATABASE
from tests.events import CODEC, batch, life

TOPIC = str(order.TOPIC)
PLACE = Place(TOPIC, 0)
PARTITIONS = range(4)


class New:
    """A reaction that starts now; what it handles is in `handled`."""

    def __init__(self, layout: Layout) -> None:
        self.name = f"contract-{uuid4()}"
        self.url = layout.database_url("orders", DATABASE)
        self.handled: list[Event] = []
        types = frozenset({"OrderPlaced", "OrderReserved"})
        self.reaction = Reaction(
            self.name, "orders", order.TOPIC, types, self.handle, lambda states: iter(()), "", start="now"
        )
        self._open: list[PostgresStore] = []

    def handle(self, cursor: Any, events: Sequence[Event]) -> None:
        self.handled += events

    def store(self) -> PostgresStore:
        """As another worker, or a new one, has it."""
        self._open.append(PostgresStore(self.url, [self.reaction]))
        return self._open[-1]

    def feed(self) -> Feed:
        feed = Feed("test", [self.reaction], self.store(), CODEC)
        feed.assign([PLACE])
        return feed

    def starts(self) -> dict[int, int]:
        lanes = [LaneId(f"reaction.{self.name}", partition) for partition in PARTITIONS]
        return {lane.partition: position for lane, position in self.store().positions(lanes).items()}

    def close(self) -> None:
        for each in self._open:
            each.close()


@pytest.fixture
def new(layout: Layout) -> Iterator[New]:
    with closing(New(layout)) as new:
        yield new
    with admin(layout.database_url("admin", DATABASE)) as cursor:
        for table in ("position", "version", "parked"):
            cursor.execute(f"DELETE FROM orders.{table} WHERE consumer = %s", (new.name,))


def at(end: int) -> dict[str, dict[int, int]]:
    return {TOPIC: dict.fromkeys(PARTITIONS, end)}


def placed() -> Event:
    return life(TOPIC)[0]._replace(key=str(uuid4()))


def test_events_from_before_its_start_are_not_handled_and_those_after_all_are(new: New) -> None:
    new.store().begin(at(2))
    events = [placed() for _ in range(4)]
    assert new.feed().assign([PLACE]) == {PLACE: 2}
    new.feed().handle([batch(events, TOPIC)])
    assert new.handled == events[2:]
    new.feed().handle([batch(events, TOPIC)])
    assert new.handled == events[2:], "once"


def test_its_start_stays_whoever_notes_it_again_and_however_long_nobody_reads(new: New) -> None:
    new.store().begin(at(2))
    new.store().begin(at(7))
    assert new.starts() == dict.fromkeys(PARTITIONS, 2)


def test_two_who_note_it_at_once_agree_in_all_partitions(new: New) -> None:
    together = threading.Barrier(8)

    def begin(store: PostgresStore, end: int) -> None:
        together.wait(10)
        store.begin(at(end))

    threads = [threading.Thread(target=begin, args=(new.store(), end)) for end in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len({*new.starts().values()}) == 1


def test_nobody_reads_before_its_start_is_noted(new: New) -> None:
    with pytest.raises(NotBegun, match=f"reaction.{new.name} begins: run `python -m ops starts`"):
        new.feed()
    assert new.starts() == dict.fromkeys(PARTITIONS, 0)
    new.store().begin(at(2))
    assert new.starts() == dict.fromkeys(PARTITIONS, 2)


def test_an_aggregate_that_is_older_begins_with_its_first_event_after_the_start_and_has_no_gap_from_there(new: New) -> None:
    new.store().begin(at(1))
    first, second, *_ = life(TOPIC)
    later = second._replace(version=4)
    feed = new.feed()
    feed.handle([batch([first, second, later], TOPIC)])
    assert new.handled == [second]
    assert feed.lane(PLACE).parked == {later.key: 1}
