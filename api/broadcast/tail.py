"""The one Kafka client that reads the ends of all topics, in a thread of its own, and tells the channels."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Thread
from time import monotonic
from typing import Protocol

from api.broadcast.changes import Change, changes, make
from api.broadcast.channel import RECENT, Channel
from api.broadcast.reader import Bounds, PositionLost
from schemas.codec import Codec
from streams.engine.batch import Place, Record

log = logging.getLogger(__name__)

#: Seconds between looks whether to stop, when nothing comes.
_IDLE_S = 0.2
#: Seconds for which more gathers after a batch, at most: as long as telling the last one took.
_MOST_REST_S = 0.1
#: Seconds after a failure, about.
_PAUSE_S = 1.0


class Source(Protocol):
    """Where records come from: see `reader.Reader`."""

    def bounds(self, topic: str, partitions: int) -> list[Bounds]:
        """Those of each partition."""

    def seek(self, positions: Mapping[Place, int]) -> None:
        """Reads from there on, and nothing else."""

    def read(self, wait_s: float) -> list[tuple[Place, Record]]:
        """What comes next."""

    @property
    def is_heard(self) -> bool:
        """Whether records came, or the broker has answered when it was last asked."""

    def close(self) -> None:
        """Ends it."""


class Tail:
    """Follows the channels' topics from `start` to `stop`.

    Whatever fails, it begins anew where it was: who listens waits, and misses nothing. It starts some records before
    the ends, so that who listened to the process before this one finds what it missed in memory. Only when a topic has
    gone back, and what was told is no more, does it call `on_lost`, and begin as if it had just started.
    """

    def __init__(
        self,
        open_source: Callable[[], Source],
        channels: Sequence[Channel],
        partitions: int,
        codec: Callable[[], Codec],
        on_lost: Callable[[], None],
    ) -> None:
        self._open = open_source
        self._channels = channels
        self._parts = [{place: n for n, place in enumerate(each.kind.places(partitions))} for each in channels]
        #: By place, the last of the channels that tell of it.
        self._last = {place: channel for channel, parts in zip(channels, self._parts, strict=True) for place in parts}
        self._partitions = partitions
        self._codec = codec
        self._on_lost = on_lost
        self._next: dict[Place, int] = {}
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="tail", daemon=True)
        #: Why it does not follow at the moment; empty when it does.
        self.trouble = "it has just started"

    def start(self) -> None:
        """In the event loop's thread."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Until the thread has ended."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except Exception as error:  # noqa: BLE001  # whatever it is, it is said, and tried again
                self.trouble = f"{type(error).__name__}: {error}"
                log.warning("streams wait, and go on by themselves: %s", self.trouble)
                if isinstance(error, PositionLost):
                    self._forget()
                self._stopping.wait(_PAUSE_S * random.uniform(0.5, 1.5))

    def _follow(self) -> None:
        codec, source = self._codec(), self._open()
        try:
            if not self._next:
                self._begin(source)
            source.seek(self._next)
            while not self._stopping.is_set():
                records = source.read(_IDLE_S)
                if source.is_heard:
                    self.trouble = ""
                if records:
                    self._stopping.wait(min(_MOST_REST_S, self._hand_over(records, codec)))
        finally:
            source.close()

    def _begin(self, source: Source) -> None:
        """All channels, or none: what is half begun would never be told."""
        each = RECENT // self._partitions
        topics = {topic for channel in self._channels for topic in channel.kind.tells}
        found = {
            Place(topic, number): one for topic in topics for number, one in enumerate(source.bounds(topic, self._partitions))
        }
        starts = {place: max(one.first, one.end - each) for place, one in found.items()}

        def begin() -> None:
            """At once: who comes between would be told of old changes as if they happened now."""
            self._on_lost()
            for channel, parts in zip(self._channels, self._parts, strict=True):
                channel.begin(tuple(starts[place] for place in parts), tuple(found[place].end for place in parts))

        self._in_loop(begin)
        self._next = starts

    def _forget(self) -> None:
        self._next.clear()
        for channel in self._channels:
            self._in_loop(channel.forget)

    def _hand_over(self, records: Sequence[tuple[Place, Record]], codec: Codec) -> float:
        """How long telling it took, in seconds. One batch is under way at a time: memory is bounded."""
        told: list[tuple[Channel, list[Change], list[tuple[Place, Record]]]] = []
        for channel, parts in zip(self._channels, self._parts, strict=True):
            mine = [each for each in records if each[0] in parts]
            if mine:
                found = changes(channel.kind, parts, mine, codec)
                if channel.has_listeners:
                    make(found)  # here, to spare the event loop
                told.append((channel, found, mine))
        began = monotonic()
        for channel, found, mine in told:
            self._in_loop(channel.tell, found)
            # One by one: when telling fails, what all others were told is not read again. Who was told hears nothing twice.
            self._next.update((place, record.offset + 1) for place, record in mine if self._last[place] is channel)
        return monotonic() - began

    def _in_loop(self, function: Callable[..., None], *arguments: object) -> None:
        async def call() -> None:
            function(*arguments)

        asyncio.run_coroutine_threadsafe(call(), self._loop).result()
