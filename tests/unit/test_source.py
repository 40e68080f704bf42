"""What a source promises to those who have its work done."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain, repeat
from queue import Queue
from threading import Thread
from time import monotonic

import pytest
from confluent_kafka import Message, TopicPartition

from api.services import tables, views
from streams.engine import client, pace, replayer, source
from streams.engine.batch import Batch, Item, Place
from streams.engine.client import BrokerSilent, Hearing
from streams.engine.feed import Feed
from streams.engine.pace import Pace
from streams.engine.replayer import Replayer
from streams.engine.source import Source
from streams.engine.turn import Turn, settle_from_thread
from streams.feeds import feeds
from tests.events import CODEC
from tests.memory_store import MemoryStore

PACE = Pace(records=400, bytes=1_000_000)


async def ask(turn: Turn) -> None:
    await asyncio.wait_for(turn.take(), timeout=5)


def test_whoever_takes_a_turn_hears_of_success_and_of_failure() -> None:
    turn = Turn()

    def serve() -> None:
        for error in (ValueError("down"), None):
            request = turn.request(5)
            assert request is not None
            settle_from_thread(request, error)

    async def agent() -> None:
        with pytest.raises(ValueError, match="down"):
            await ask(turn)
        await ask(turn)

    thread = Thread(target=serve)
    thread.start()
    asyncio.run(agent())
    thread.join()


def test_a_turn_that_nobody_takes_up_is_noticed() -> None:
    assert Turn().request(0) is None


@pytest.mark.parametrize("asked_first", [True, False])
def test_a_withdrawn_turn_keeps_nobody_waiting(*, asked_first: bool) -> None:
    turn = Turn()

    async def agent() -> None:
        asked = turn.take() if asked_first else None
        await asyncio.to_thread(turn.withdraw)
        await asyncio.wait_for(asked or turn.take(), timeout=5)

    asyncio.run(agent())


def test_a_source_that_hears_nothing_from_the_broker_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "COMMIT_S", 0.1)
    for name, seconds in (("ANSWER_S", 0.1), ("SILENCE_S", 1.0)):
        monkeypatch.setattr(client, name, seconds)
    ended: Queue[Exception | None] = Queue()
    started_at = monotonic()
    feed = Feed("test", [views()["order"]], MemoryStore(), CODEC)
    # Nobody listens on port 1.
    Source("127.0.0.1:1", feed, Pace(records=1, bytes=1), lambda turn: None).start(ended.put)
    assert isinstance(ended.get(timeout=30), BrokerSilent)
    assert monotonic() - started_at > 1.0


def ask_until_it_is_given_up(hearing: Hearing) -> None:
    while True:
        assert not hearing.ask()


def test_a_replayer_that_the_broker_does_not_answer_is_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a client of its own, which can lose its broker by itself."""
    for name, seconds in (("ANSWER_S", 0.1), ("SILENCE_S", 0.3)):
        monkeypatch.setattr(client, name, seconds)
    with closing(Replayer("127.0.0.1:1", Feed("test", [views()["order"]], MemoryStore(), CODEC), PACE)) as replayer:
        assert not replayer.hearing.ask()
        with pytest.raises(BrokerSilent):
            ask_until_it_is_given_up(replayer.hearing)


def test_tables_are_not_written_in_smaller_pieces_because_the_machine_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """An insert takes as long for one row as for thousands: smaller ones would only fall further behind."""
    now = [0.0]
    monkeypatch.setattr(source, "monotonic", lambda: now[0])

    class Busy(Feed):
        def handle(self, batches: Sequence[Batch]) -> None:
            now[0] += 2.0

    pace = feeds()["tables"][1]
    feed = Busy("test", [tables()["orders"]], MemoryStore(), CODEC)
    reading = Source("127.0.0.1:1", feed, pace, lambda turn: None)
    sizes = []
    for _ in range(8):
        items = [Item(offset, "", 0, None, 0) for offset in range(reading._portion.most)]  # noqa: SLF001  # what it is about
        sizes.append(len(items))
        reading._pending = [Batch(Place("marea.order", 0), 0, len(items), items)]  # noqa: SLF001
        reading._apply()  # noqa: SLF001
    assert sizes == sorted(sizes)
    assert sizes[-1] == pace.records


def test_a_batch_that_took_too_long_makes_the_next_ones_smaller_and_a_full_quick_one_larger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that locks are held for a bounded time, whatever the events are."""
    now = [0.0]
    took_s_a_record = [1 / 128]
    monkeypatch.setattr(source, "monotonic", lambda: now[0])

    class Slow(Feed):
        def handle(self, batches: Sequence[Batch]) -> None:
            now[0] += took_s_a_record[0] * sum(len(batch.items) for batch in batches)

    feed = Slow("test", [views()["order"]], MemoryStore(), CODEC)
    reading = Source("127.0.0.1:1", feed, PACE, lambda turn: None)

    def apply() -> int:
        items = [Item(offset, "", 0, None, 0) for offset in range(reading._portion.most)]  # noqa: SLF001  # what it is about
        reading._pending = [Batch(Place("marea.order", 0), 0, len(items), items)]  # noqa: SLF001
        reading._apply()  # noqa: SLF001
        return reading._portion.most  # noqa: SLF001

    assert [apply() for _ in range(2)] == [32, 64], "a quarter of a second, and then twice as many"
    took_s_a_record[0] = 1 / 1_024
    assert [apply() for _ in range(4)] == [128, 256, 400, 256]
    took_s_a_record[0] = 10.0
    assert [apply() for _ in range(2)] == [1, 1], "and one at least"


class Clock:
    """Seconds that pass when somebody works or waits."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Broker:
    """A client with one partition of values of these sizes, as librdkafka gives them: so many, whatever they weigh."""

    def __init__(self, clock: Clock, sizes: Iterable[int]) -> None:
        self._clock = clock
        self._messages = self._written(sizes)

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        assert [(each.partition, each.offset) for each in partitions] == [(0, 0)], "nothing is read twice"

    def poll(self, timeout: float) -> Message | None:
        return next(iter(self.consume(1, timeout)), None)

    def consume(self, most: int, timeout: float) -> list[Message]:
        found = [message for _, message in zip(range(most), self._messages, strict=False)]
        self._clock.now += timeout if len(found) < most else 0.0
        return found

    def close(self) -> None:
        """Nothing is open."""

    def _written(self, sizes: Iterable[int]) -> Iterator[Message]:
        for offset, size in enumerate(sizes):
            yield Message("marea.order", 0, offset, b"", bytes(size))


def test_a_feed_rests_after_a_batch_and_one_that_has_rested_keeps_nothing_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    for module in (source, pace):
        monkeypatch.setattr(module, "monotonic", clock.monotonic)

    class Slow(Feed):
        def handle(self, batches: Sequence[Batch]) -> None:
            clock.now += 0.25

    feed = Slow("test", [views()["order"]], MemoryStore(), CODEC)
    reading = Source("127.0.0.1:1", feed, PACE._replace(rest_s=0.5), lambda turn: None)
    reading._next = {Place("marea.order", 0): 0}  # noqa: SLF001  # what it is about

    def poll() -> float:
        """Seconds until it has what it hands over."""
        began = clock.now
        monkeypatch.setattr(reading, "_client", Broker(clock, [1, 1]))
        reading._pending = reading._poll(0.0)  # noqa: SLF001
        assert [len(batch.items) for batch in reading._pending] == [2]  # noqa: SLF001
        return clock.now - began

    assert poll() == 0.0
    reading._apply()  # noqa: SLF001
    assert poll() == 0.25, "as long as the last batch took"
    reading._apply()  # noqa: SLF001
    clock.now += 1.0
    assert poll() == 0.0


class Noting(Feed):
    """A feed that notes what is replayed; a record takes `s_a_record`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("test", [views()["order"]], MemoryStore(), CODEC)
        self._clock = clock
        self.s_a_record = 0.0
        self.replayed: list[Sequence[Item]] = []

    def replay(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self._clock.now += self.s_a_record * len(batch.items)
            self.replayed.append(batch.items)


class Again:
    """A replayer, its feed, and how many records and bytes it hands over when it is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, sizes: Iterable[int], pace_: Pace = PACE) -> None:
        clock = Clock()
        for module in (pace, replayer):
            monkeypatch.setattr(module, "monotonic", clock.monotonic)
        monkeypatch.setattr(replayer, "KafkaConsumer", lambda config, logger: Broker(clock, sizes))
        self.feed = Noting(clock)
        self._replayer = Replayer("", self.feed, pace_)
        self._at = 0

    def hand_over(self) -> tuple[int, int]:
        self._replayer.replay({Place("marea.order", 0): self._at})
        items = self.feed.replayed[-1]
        self._at = items[-1].offset + 1
        return len(items), sum(item.size for item in items)


def test_what_is_replayed_at_once_is_bounded_in_bytes_and_none_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reaction that comes back finds orders of one line and of 500, and would have all of them in one transaction."""
    sizes = [100, 100_000] * 100
    again = Again(monkeypatch, sizes)
    handed_over: list[tuple[int, int]] = []
    while sum(records for records, _ in handed_over) < len(sizes):
        handed_over.append(again.hand_over())
    assert [item.offset for items in again.feed.replayed for item in items] == [*range(len(sizes))]
    assert max(size for _, size in handed_over) <= PACE.bytes + 100_000
    assert min(size for _, size in handed_over[:-1]) >= PACE.bytes


def test_one_small_record_does_not_bring_hundreds_of_large_ones_along(monkeypatch: pytest.MonkeyPatch) -> None:
    again = Again(monkeypatch, chain([100], repeat(200_000)))
    assert again.hand_over() == (1 + pace.GROWTH, 100 + pace.GROWTH * 200_000)
    assert again.hand_over() == (5, 1_000_000)


def test_what_took_long_to_replay_comes_in_smaller_pieces_and_what_is_quick_in_larger_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    again = Again(monkeypatch, repeat(10))
    again.feed.s_a_record = 1 / 128
    assert [again.hand_over()[0] for _ in range(3)] == [400, 32, 64]
    again.feed.s_a_record = 10.0
    assert [again.hand_over()[0] for _ in range(3)] == [32, 1, 1]
    again.feed.s_a_record = 0.0
    assert [again.hand_over()[0] for _ in range(11)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 400, 400]


def test_the_others_wait_for_no_more_than_a_piece_of_what_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many records their own batches may have."""
    again = Again(monkeypatch, repeat(10), feeds()["tables"][1])
    assert [again.hand_over()[0] for _ in range(3)] == [500, replayer.REPLAY_RECORDS, replayer.REPLAY_RECORDS]
