"""What a source promises to those who have its batches applied."""

import asyncio
from threading import Thread

import pytest

from streams.source import Offer, settle_from_thread


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
