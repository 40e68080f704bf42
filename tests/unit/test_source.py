"""What a source promises to those who have its batches applied."""

import asyncio
from collections.abc import Mapping, Sequence
from queue import Queue
from threading import Thread
from time import monotonic

import pytest

from streams.engine import source
from streams.engine.batch import Batch
from streams.engine.source import BrokerSilent, Offer, Source, settle_from_thread


async def ask(offer: Offer) -> None:
    await asyncio.wait_for(offer.apply(), timeout=5)


def test_whoever_applies_an_offer_hears_of_success_and_of_failure() -> None:
    offer = Offer()

    def serve() -> None:
        for error in (ValueError("down"), None):
            request = offer.request(5)
            assert request is not None
            settle_from_thread(request, error)

    async def agent() -> None:
        with pytest.raises(ValueError, match="down"):
            await ask(offer)
        await ask(offer)

    thread = Thread(target=serve)
    thread.start()
    asyncio.run(agent())
    thread.join()


def test_an_offer_that_nobody_takes_up_is_noticed() -> None:
    assert Offer().request(0) is None


@pytest.mark.parametrize("asked_first", [True, False])
def test_a_withdrawn_offer_keeps_nobody_waiting(*, asked_first: bool) -> None:
    offer = Offer()

    async def agent() -> None:
        asked = offer.apply() if asked_first else None
        await asyncio.to_thread(offer.withdraw)
        await asyncio.wait_for(asked or offer.apply(), timeout=5)

    asyncio.run(agent())


class Idle:
    """A reader that is never given anything."""

    def assign(self, partitions: Sequence[int]) -> Mapping[int, int]:
        raise AssertionError(partitions)

    def revoke(self, partitions: Sequence[int]) -> None:
        raise AssertionError(partitions)

    def offer(self, offer: Offer) -> None:
        raise AssertionError(offer)

    def apply(self, batches: Sequence[Batch]) -> Mapping[int, int]:
        raise AssertionError(batches)

    def recheck(self) -> Mapping[int, int]:
        return {}

    def positions(self) -> Mapping[int, int]:
        return {}


def test_a_source_that_hears_nothing_from_the_broker_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("COMMIT_S", 0.1), ("ANSWER_S", 0.1), ("SILENCE_S", 1.0)):
        monkeypatch.setattr(source, name, seconds)
    ended: Queue[Exception | None] = Queue()
    started_at = monotonic()
    Source("127.0.0.1:1", "group", "topic", Idle()).start(ended.put)  # nobody listens on port 1
    assert isinstance(ended.get(timeout=30), BrokerSilent)
    assert monotonic() - started_at > 1.0
