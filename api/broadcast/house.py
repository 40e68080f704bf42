"""All who listen over HTTP, to whatever channel: each has a place, and a bounded buffer."""

import asyncio
import logging
import random

from aiohttp import web

from api.broadcast.changes import event_id, frames
from api.broadcast.channel import Channel, send
from api.broadcast.history import History
from kernel.refusals import FieldError, Malformed, Unavailable

log = logging.getLogger(__name__)

#: Streams at once. One costs some 15 KiB, and what its client has not taken yet.
PLACES = 2_500
#: Bytes that a client may leave untaken, beside what the kernel holds: one that leaves more is too slow.
BUFFER_BYTES = 65_536
#: Seconds that a client may take for a piece of what it has missed.
_PIECE_S = 10.0
#: Changes of such a piece, at most.
_PIECE = 500
#: Seconds between comments that show both sides that the other is there.
HEARTBEAT_S = 15.0
#: Milliseconds after which a client comes back: not all at once.
_RETRY_MS = (1_000, 3_000)
_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class _Listener:
    """One who listens. The connection takes pieces in HTTP's chunked coding."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.response = web.StreamResponse(headers=_HEADERS)
        self.ended = asyncio.Event()
        self._is_open = False

    async def open(self, positions: list[int]) -> None:
        """Says when to come back, and where the stream begins."""
        await self.response.prepare(self._request)
        await self.write(b"retry: %d\nid: %s\n\n" % (random.randint(*_RETRY_MS), event_id(positions).encode()))
        self._is_open = True

    @property
    def is_idle(self) -> bool:
        """Whether its answer has begun, and its client has taken all of it so far."""
        transport = self._request.transport
        return self._is_open and transport is not None and not transport.get_write_buffer_size()

    async def write(self, data: bytes) -> None:
        """Waits while the client has too much to take. Raises TimeoutError when it is too slow."""
        async with asyncio.timeout(_PIECE_S):
            await self.response.write(data)

    def send(self, piece: bytes) -> None:
        """Waits for nobody: a client that is too slow is sent away. It comes back with the last id that it has."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > BUFFER_BYTES:
            log.warning("a listener is too slow, and is sent away")
            self.send_away()
        else:
            transport.write(piece)

    def send_away(self) -> None:
        """Lets go of the connection, and of what its client has not taken."""
        if self._request.transport is not None:
            self._request.transport.abort()


class House:
    """The places, and who has them."""

    def __init__(self, history: History, places: int = PLACES) -> None:
        self._history = history
        self._places = places
        #: Those who wait for what happens next, with their channel; None while they hear of what they have missed.
        self._listeners: dict[_Listener, Channel | None] = {}
        #: Who makes a piece of what it has missed: however many catch up, the event loop sees to the rest after each.
        self._turn = asyncio.Lock()

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return len(self._listeners)

    async def serve(
        self, request: web.Request, channel: Channel, keys: frozenset[str] | None, last_event_id: str | None
    ) -> web.StreamResponse:
        """The stream of these keys (None is all), from after that event or from now on, until somebody ends it.

        Raises Malformed and Unavailable before it begins.
        """
        if request.method == "HEAD":
            return web.Response(headers=_HEADERS)
        if not channel.is_ready:
            raise Unavailable("What happens is not known at the moment: try again.")
        if self.taken >= self._places:
            raise Unavailable(f"All {self._places} streams are taken: try again later.")
        listener = _Listener(request)
        self._listeners[listener] = None
        try:
            positions = await self._start(channel, last_event_id)
            await listener.open(positions)
            await self._keep_telling(listener, channel, keys, positions)
        finally:
            del self._listeners[listener]
            channel.leave(listener, keys)
        return listener.response

    async def beat(self) -> None:
        """Shows all, again and again, that somebody is there; and those who choose, how far the stream is."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            for listener, channel in list(self._listeners.items()):
                if channel:
                    send([listener], [b": still here\nid: %s\n\n" % channel.id().encode()])
                elif listener.is_idle:
                    send([listener], [b": still here\n\n"])

    def end(self) -> None:
        """Ends all streams: their clients come back."""
        for listener in self._listeners:
            listener.ended.set()

    async def _start(self, channel: Channel, last_event_id: str | None) -> list[int]:
        """The next offset to tell of each partition."""
        if last_event_id is None:
            return list(channel.ends)
        positions = [int(position) for position in last_event_id.split("-")]
        if len(positions) != len(channel.ends) or not await self._is_in_topic(channel, positions):
            message = "is not an id of this stream"
            raise Malformed(f"Header Last-Event-ID: {message}.", [FieldError("Last-Event-ID", message)])
        return positions

    async def _is_in_topic(self, channel: Channel, positions: list[int]) -> bool:
        if channel.has_told(positions):
            return True
        try:
            ends = await self._history.ends(channel.kind)
        except Exception as error:
            raise Unavailable("What happens is not known at the moment: try again.") from error
        return all(position <= end for position, end in zip(positions, ends, strict=True))

    async def _keep_telling(
        self, listener: _Listener, channel: Channel, keys: frozenset[str] | None, positions: list[int]
    ) -> None:
        try:
            await self._catch_up(listener, channel, keys, positions)
            # Nothing has been told since it has heard all.
            channel.join(listener, keys)
            self._listeners[listener] = channel
            await listener.ended.wait()
        except ConnectionError:
            pass  # it has hung up, and was not noticed but by writing
        except Exception as error:  # noqa: BLE001  # its client comes back, whatever it is
            log.warning("a stream ends, its client will come back: %s: %s", type(error).__name__, error)
            listener.send_away()  # its client may take nothing, and a clean end would wait for it

    async def _catch_up(
        self, listener: _Listener, channel: Channel, keys: frozenset[str] | None, positions: list[int]
    ) -> None:
        """Until it has heard all that has been told: from memory, and from Kafka what is older."""
        while True:
            async with self._turn:
                if listener.ended.is_set():
                    return
                missed = channel.since(positions, _PIECE)
                if missed:
                    piece = frames(missed, keys, positions)
                    await asyncio.sleep(0)
            if missed is None:
                missed = await self._history.read(channel.kind, positions, channel.ends)
                piece = frames(missed[:_PIECE], keys, positions)
            if missed:
                await listener.write(piece)
            elif channel.has_told(positions):
                return
            else:
                await channel.moved()
