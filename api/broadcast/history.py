"""What was told before: read from Kafka again, for some listeners at once. The others wait for their turn."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event, local
from time import monotonic
from typing import TypeVar

from api.broadcast.changes import Change, Kind, changes, make
from api.broadcast.tail import Source
from schemas.codec import Codec
from streams.engine.batch import Place

#: Kafka clients that read at once, each for one listener, one piece.
READERS = 4
#: Seconds that Kafka may take for a piece.
_TIMEOUT_S = 10.0

T = TypeVar("T")


class History:
    """Reads a piece at a time, so that one who has missed much holds up nobody for long."""

    def __init__(self, open_source: Callable[[], Source], partitions: int, codec: Callable[[], Codec]) -> None:
        self._open = open_source
        self._partitions = partitions
        self._codec = codec
        self._pool = ThreadPoolExecutor(READERS, "history")
        self._of_thread = local()
        self._closing = Event()

    async def ends(self, kind: Kind) -> list[int]:
        """Where its topics end. Raises KafkaException when the broker does not answer."""
        return await self._in_turn(
            lambda source: [one.end for topic in kind.tells for one in source.bounds(topic, self._partitions)]
        )

    async def read(self, kind: Kind, positions: Sequence[int], ends: Sequence[int]) -> list[Change]:
        """What comes next at these positions, of what is before the ends: at least one change.

        Raises TimeoutError and what a source and the codec raise: nothing is lost by asking again.
        """
        starts = {
            place: position
            for place, position, end in zip(kind.places(self._partitions), positions, ends, strict=True)
            if position < end
        }
        return await self._in_turn(partial(self._read, kind, starts))

    def close(self) -> None:
        """Nobody waits for a turn any more."""
        self._closing.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _in_turn(self, work: Callable[[Source], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._with_source, work)

    def _with_source(self, work: Callable[[Source], T]) -> T:
        """One that has failed is not used again: it may have lost its broker for good."""
        source: Source = getattr(self._of_thread, "source", None) or self._open()
        self._of_thread.source = None
        try:
            result = work(source)
        except BaseException:
            source.close()
            raise
        self._of_thread.source = source
        return result

    def _read(self, kind: Kind, starts: dict[Place, int], source: Source) -> list[Change]:
        source.seek(starts)
        until = monotonic() + _TIMEOUT_S
        while monotonic() < until and not self._closing.is_set():
            if records := source.read(_TIMEOUT_S / 10):
                parts = {place: part for part, place in enumerate(kind.places(self._partitions))}
                found = changes(kind, parts, records, self._codec())
                make(found)
                return found
        raise TimeoutError(f"nothing of {', '.join(kind.tells)} has come for {_TIMEOUT_S:.0f} s")
