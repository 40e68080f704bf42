"""What is told of some topics as it happens, and what was told last. All of it belongs to the event loop's thread."""

import asyncio
import logging
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

from api.broadcast.changes import Change, Kind, event_id, frame

log = logging.getLogger(__name__)

#: Changes that are remembered: who comes back soon needs nothing of Kafka. One has about a kilobyte.
RECENT = 10_000

Positions = tuple[int, ...]


class Listener(Protocol):
    """Who listens to a channel."""

    def send(self, piece: bytes) -> None:
        """Takes server-sent events, without waiting."""

    def send_away(self) -> None:
        """Ends it."""


class _Moved(NamedTuple):
    """A change, and where the channel was after it."""

    change: Change
    ends: Positions


class Channel:
    """The changes of a kind, to those who have joined.

    `ends` are the positions up to which it has told; it is ready once these are where its topics ended when it began.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.ends: Positions = ()
        self._ready_at: Positions | None = None
        self._before: Positions = ()  # where it was before the first change that it remembers
        self._recent: deque[_Moved] = deque()
        self._to_all: set[Listener] = set()
        self._by_key: dict[str, set[Listener]] = {}
        self._has_moved = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """Whether one can join: from now on has a meaning."""
        return self._ready_at is not None and _covers(self.ends, self._ready_at)

    @property
    def has_listeners(self) -> bool:
        """Whether anybody has joined; nobody else needs to know what a change tells."""
        return bool(self._to_all or self._by_key)

    def begin(self, at: Positions, ready_at: Positions) -> None:
        """It tells from here on, and forgets all that it has told."""
        self.ends = self._before = at
        self._ready_at = ready_at
        self._recent.clear()
        self._wake()

    def forget(self) -> None:
        """Where it is means nothing any more: nobody joins until it begins again."""
        self._ready_at = None

    def tell(self, changes: Sequence[Change]) -> None:
        """What has happened since. Each change is encoded once, and each listener gets one piece.

        What it has told already it does not tell again. Raises what the codec raises, having told nothing.
        """
        new = [change for change in changes if change.offset >= self.ends[change.part]]
        told = [change.told for change in new] if self.has_listeners else []
        moved = list(self._advance(new))
        self._remember(moved)
        self._send([(key, frame(ends, data)) for (key, data), (_, ends) in zip(told, moved, strict=False) if data])
        self._wake()

    def _send(self, framed: Sequence[tuple[str, bytes]]) -> None:
        if self._to_all:
            send(self._to_all, [piece for _, piece in framed])
        chosen: dict[Listener, list[bytes]] = {}
        for key, piece in framed:
            for listener in self._by_key.get(key, ()):
                chosen.setdefault(listener, []).append(piece)
        for listener, pieces in chosen.items():
            send([listener], pieces)

    def since(self, positions: Sequence[int], most: int) -> list[Change] | None:
        """What it told next beyond these positions, in order; None when it does not remember all of that."""
        if not _covers(positions, self._before):
            return None
        # Where it was only grows: what these positions cover comes first.
        first = bisect_left(self._recent, True, key=lambda told: not _covers(positions, told.ends))  # noqa: FBT003
        later = (change for change, _ in islice(self._recent, first, None))
        return list(islice((change for change in later if change.offset >= positions[change.part]), most))

    def has_told(self, positions: Sequence[int]) -> bool:
        """Whether it is that far. It is not for one who has listened elsewhere, where things came a moment sooner."""
        return _covers(self.ends, positions)

    async def moved(self) -> None:
        """Until it has told something more."""
        await self._has_moved.wait()

    def join(self, listener: Listener, keys: frozenset[str] | None) -> None:
        """From now on it hears of these keys; None is all."""
        for listeners in self._chosen(keys):
            listeners.add(listener)

    def leave(self, listener: Listener, keys: frozenset[str] | None) -> None:
        """One who has not joined may leave, too."""
        for listeners in self._chosen(keys):
            listeners.discard(listener)
        for key in keys or ():
            if not self._by_key[key]:
                del self._by_key[key]

    def id(self) -> str:
        """The event id of one who has heard all."""
        return event_id(self.ends)

    def _wake(self) -> None:
        self._has_moved.set()
        self._has_moved = asyncio.Event()

    def _chosen(self, keys: frozenset[str] | None) -> list[set[Listener]]:
        return [self._to_all] if keys is None else [self._by_key.setdefault(key, set()) for key in keys]

    def _advance(self, changes: Iterable[Change]) -> Iterable[_Moved]:
        ends = list(self.ends)
        for change in changes:
            ends[change.part] = change.offset + 1
            self.ends = tuple(ends)
            yield _Moved(change, self.ends)

    def _remember(self, told: Sequence[_Moved]) -> None:
        self._recent.extend(told)
        while len(self._recent) > RECENT:
            self._before = self._recent.popleft().ends


def send(listeners: Iterable[Listener], pieces: Sequence[bytes]) -> None:
    """Each gets all pieces at once. One on which this fails is sent away, and the others get theirs."""
    if pieces:
        piece = _chunk(b"".join(pieces))
        for listener in list(listeners):
            try:
                listener.send(piece)
            except Exception:
                log.exception("a listener could not be told, and is sent away")
                listener.send_away()


def _chunk(data: bytes) -> bytes:
    """A piece of an answer in HTTP's chunked coding: the same bytes for whoever gets it."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def _covers(positions: Sequence[int], others: Sequence[int]) -> bool:
    return all(mine >= other for mine, other in zip(positions, others, strict=True))
