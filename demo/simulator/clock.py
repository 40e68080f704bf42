"""A company's clock: ours, moved ahead by whoever wants days to have passed."""

import asyncio
from collections.abc import Callable
from time import time

from demo.simulator.store import Store


class Clock:
    """Seconds since 1970. How far it is ahead is kept."""

    def __init__(self, store: Store, system: Callable[[], float] = time) -> None:
        self._store, self._system = store, system
        row = store.sql.execute("SELECT ahead_s FROM clock").fetchone()
        self._ahead_s: float = row["ahead_s"] if row else 0.0

    def now(self) -> float:
        """What time it is there."""
        return self._system() + self._ahead_s

    def advance(self, seconds: float) -> None:
        """So much later; for good."""
        with self._store.transaction():
            self._store.sql.execute("DELETE FROM clock")
            self._store.sql.execute("INSERT INTO clock VALUES (?)", (self._ahead_s + seconds,))
        self._ahead_s += seconds


class Bell:
    """Wakes all who wait for something to have changed: what is due, or what time it is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Look again."""
        self._rung.set()
        self._rung = asyncio.Event()

    async def wait(self, until: float | None) -> None:
        """Until it rings, or that moment of the company's clock has come."""
        try:
            async with asyncio.timeout(None if until is None else max(0.0, until - self._clock.now())):
                await self._rung.wait()
        except TimeoutError:
            return  # it has come

    async def sleep(self, seconds: float) -> None:
        """So long by the company's clock."""
        end = self._clock.now() + seconds
        while self._clock.now() < end:
            await self.wait(end)
