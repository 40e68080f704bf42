"""Records of a topic as what listeners are told: encoded once, whoever listens, and not at all while nobody does."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import orjson

from schemas import order, stock
from schemas.codec import Codec, Undecodable
from schemas.event import Event, Topic
from schemas.order import OrderEvent
from schemas.stock import StockEvent
from streams.engine.batch import Place, Record, decode
from streams.engine.consumer import Row
from streams.views.inventory import stock as stock_view
from streams.views.orders import customer_orders

log = logging.getLogger(__name__)


class Told(NamedTuple):
    """What those are told who have chosen `key`: `data` is JSON, and None when there is nothing to tell."""

    key: str
    data: bytes | None


class Change:
    """One record. What it tells is made when it is first asked for, which raises what the codec raises."""

    __slots__ = ("_make", "_told", "offset", "partition")

    def __init__(self, partition: int, offset: int, make: Callable[[], Told]) -> None:
        self.partition = partition
        self.offset = offset
        self._make: Callable[[], Told] | None = make
        self._told: Told | None = None

    @property
    def told(self) -> Told:
        """What it tells, kept from then on in place of the record."""
        if self._make:
            self._told, self._make = self._make(), None
        assert self._told
        return self._told


@dataclass(frozen=True)
class Kind:
    """A topic as a stream: `tell` gives an event's key, by which listeners choose, and what they are told."""

    topic: Topic[Any]
    tell: Callable[[Any], tuple[str, Row]]


def _of_stock(event: StockEvent) -> tuple[str, Row]:
    """The event has more, as whose order it is, which is nobody's business here."""
    row = stock_view.fold(None, event)
    assert row is not None, "a stock item is never deleted"
    return event.key, {"type": event.type, **row}


def _of_order(event: OrderEvent) -> tuple[str, Row]:
    row = customer_orders.fold(None, event)
    return event.data["customer_id"], {"type": event.type, **row}


STOCK = Kind(stock.TOPIC, _of_stock)
ORDERS = Kind(order.TOPIC, _of_order)


def changes(kind: Kind, records: Iterable[tuple[Place, Record]], codec: Codec) -> list[Change]:
    """The changes that these records are, in their order."""
    return [Change(place.partition, record.offset, partial(_tell, kind, place, record, codec)) for place, record in records]


def make(found: Iterable[Change]) -> None:
    """Has what they tell made now, in this thread."""
    for change in found:
        change.told  # noqa: B018  # keeps it


def _tell(kind: Kind, place: Place, record: Record, codec: Codec) -> Told:
    try:
        event: Event = decode(record, codec, kind.topic)
    except Undecodable as error:
        log.warning("%s/%d at offset %d is not told: %s", *place, record.offset, error)
        return Told("", None)
    try:
        key, told = kind.tell(event)
    except Exception:
        # Our own fault, and no reason to keep the rest from those who listen.
        log.exception("%s/%d at offset %d is not told", *place, record.offset)
        return Told("", None)
    return Told(key, orjson.dumps(told))


def event_id(positions: Sequence[int]) -> str:
    """Where a stream goes on: each partition's next offset."""
    return "-".join(map(str, positions))


def frame(positions: Sequence[int], data: bytes) -> bytes:
    """A server-sent event, after which the stream goes on at these positions."""
    return b"id: %s\ndata: %s\n\n" % (event_id(positions).encode(), data)


def frames(told: Iterable[Change], keys: frozenset[str] | None, positions: list[int]) -> bytes:
    """What these changes are to one listener, whose positions move on. Never empty: it says where the stream is."""
    pieces = list(_frames(told, keys, positions))
    return b"".join(pieces) or b"id: %s\n\n" % event_id(positions).encode()


def _frames(told: Iterable[Change], keys: frozenset[str] | None, positions: list[int]) -> Iterator[bytes]:
    for change in told:
        positions[change.partition] = change.offset + 1
        key, data = change.told
        if data and (keys is None or key in keys):
            yield frame(positions, data)
