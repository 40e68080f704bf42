"""A load for fault tests: customers who buy without pause, whatever happens."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from threading import Event, Thread

from demo.placing import Order, Tally, await_final, order, place, steadily
from kernel import settings
from streams.engine.reader import Views
from tests.stack.shop import Shop, eventually

#: Orders a second, each paid for: the rest of the machine is for coming back, and for another stack. What is ordered is read
#: again by each verify and each rebuild after it.
PER_S = 5.0


class Buyers:
    """Clients that buy without pause. Each repeats an order, under its key, until it has an answer to it."""

    def __init__(self, skus: Sequence[str]) -> None:
        self._skus = skus
        self._name = Shop().name
        self._tally = Tally()
        self._over = Event()
        self._thread = Thread(target=self._buy)
        self._thread.start()

    @property
    def accepted(self) -> list[str]:
        """The ids of accepted orders, so far."""
        return self._tally.accepted

    def await_more(self, orders: int) -> None:
        """Returns when so many more have been accepted."""
        soon = len(self.accepted) + orders
        eventually(lambda: len(self.accepted) >= soon)

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def check(self, first: int = 0) -> None:
        """All orders are accepted, each once, and those from the first one on are confirmed."""
        assert not self._tally.refused
        accepted = [*self.accepted]
        assert len({*accepted}) == len(accepted)
        views = Views(settings.redis_url(), settings.partitions())
        assert await_final(views, accepted[first:]) == {"confirmed": len(accepted) - first}

    def _buy(self) -> None:
        asyncio.run(place(settings.setting("API_URL"), self._orders(), self._tally, steadily(PER_S)))

    def _orders(self) -> Iterator[Order]:
        for number in count():
            if self._over.is_set():
                return
            lines = [(self._skus[(number + n) % len(self._skus)], 1) for n in range(3)]
            yield order(f"{self._name}-{number}", f"{self._name}-{number % 100}", lines)


@contextmanager
def buying(skus: Sequence[str]) -> Iterator[Buyers]:
    """Buyers, for as long as a `with` lasts."""
    buyers = Buyers(skus)
    try:
        yield buyers
    finally:
        buyers.stop()
