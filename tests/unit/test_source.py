"""What a source promises to those who have its work done."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from queue import Queue
from threading import Thread
from time import monotonic

import pytest

from api.services import tables, views
from streams.engine import client, source
from streams.engine.batch import Batch, Item, Place
from streams.engine.client import BrokerSilent, Hearing
from streams.engine.feed import Feed
from streams.engine.replayer import Replayer
from streams.engine.source import Pace, Source
from streams.engine.turn import Turn, settle_from_thread
from streams.feeds import feeds
from tests.events import CODEC
from tests.memory_store import MemoryStore


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
    with closing(Replayer("127.0.0.1:1", Feed("test", [views()["order"]], MemoryStore(), CODEC))) as replayer:
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
        items = [Item(offset, "", 0, None, 0) for offset in range(reading._most)]  # noqa: SLF001  # what it is about
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
    reading = Source("127.0.0.1:1", feed, Pace(records=400, bytes=1_000), lambda turn: None)

    def apply() -> int:
        items = [Item(offset, "", 0, None, 0) for offset in range(reading._most)]  # noqa: SLF001  # what it is about
        reading._pending = [Batch(Place("marea.order", 0), 0, len(items), items)]  # noqa: SLF001
        reading._apply()  # noqa: SLF001
        return reading._most  # noqa: SLF001

    assert [apply() for _ in range(2)] == [32, 64], "a quarter of a second, and then twice as many"
    took_s_a_record[0] = 1 / 1_024
    assert [apply() for _ in range(4)] == [128, 256, 400, 256]
    took_s_a_record[0] = 10.0
    assert [apply() for _ in range(2)] == [1, 1], "and one at least"
