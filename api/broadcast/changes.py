"""Records of a topic as what listeners are told: encoded once, whoever listens."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
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


class Change(NamedTuple):
    """What one record tells those who have chosen `key`: `data` is JSON, and None when there is nothing to tell."""

    partition: int
    offset: int
    key: str
    data: bytes | None


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
    """What these records tell, in their order. Raises what the codec raises when the registry is away."""
    return [_change(kind, place.partition, record, codec) for place, record in records]


def _change(kind: Kind, partition: int, record: Record, codec: Codec) -> Change:
    try:
        event: Event = decode(record, codec, kind.topic)
    except Undecodable as error:
        log.warning("%s/%d at offset %d is not told: %s", kind.topic, partition, record.offset, error)
        return Change(partition, record.offset, "", None)
    try:
        key, told = kind.tell(event)
    except Exception:
        # Our own fault, and no reason to keep the rest from those who listen.
        log.exception("%s/%d at offset %d is not told", kind.topic, partition, record.offset)
        return Change(partition, record.offset, "", None)
    return Change(partition, record.offset, key, orjson.dumps(told))


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
        if change.data and (keys is None or change.key in keys):
            yield frame(positions, change.data)
