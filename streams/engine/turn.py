"""A feed's work, done in the source's thread when the feed's agent says so."""

import asyncio
from contextlib import suppress
from queue import Empty, SimpleQueue


class Turn:
    """A feed has work: it is done in the source's thread, once an agent has said so, for as long as there is some."""

    def __init__(self) -> None:
        self._requests: SimpleQueue[asyncio.Future[None]] = SimpleQueue()
        self._withdrawn = False

    def take(self) -> "asyncio.Future[None]":
        """Has the work done; to be called in an event loop.

        The future raises what went wrong; then the work is still to be done. When the source is ending it does
        nothing: whoever reads the partitions next starts at the stored positions.
        """
        done = asyncio.get_running_loop().create_future()
        self._requests.put(done)
        if self._withdrawn:
            settle(done)
        return done

    def request(self, timeout_s: float) -> "asyncio.Future[None] | None":
        """What `take` gave, or None when nobody called it in time; for the source."""
        try:
            return self._requests.get(timeout=timeout_s)
        except Empty:
            return None

    def withdraw(self) -> None:
        """The work will not be done from here; for the source."""
        self._withdrawn = True
        while request := self.request(0):
            settle_from_thread(request)


def settle(future: "asyncio.Future[None]", error: Exception | None = None) -> None:
    """Ends a future of the running event loop, unless it was cancelled, as when the worker stops."""
    if not future.done():
        future.set_exception(error) if error else future.set_result(None)


def settle_from_thread(future: "asyncio.Future[None]", error: Exception | None = None) -> None:
    """As `settle`, from a thread that has no event loop. When the loop is closed, nobody waits for it any more."""
    with suppress(RuntimeError):
        future.get_loop().call_soon_threadsafe(settle, future, error)
