"""Records of topics as what listeners are told: encoded once, whoever listens, and not at all while nobody does."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import orjson

from schemas import fulfilment, order, payment, returns, stock
from schemas.codec import Codec, Undecodable
from schemas.event import Event, Topic, iso_utc
from schemas.order import OrderEvent
from schemas.stock import StockEvent
from streams.engine.batch import Place, Record, decode
from streams.engine.consumer import Row
from streams.views.inventory import stock as stock_view
from streams.views.orders import customer_orders
from streams.views.payments import payment as payment_view
from streams.views.shipping import fulfilment as fulfilment_view
from streams.views.shipping import order_returns as returns_view

log = logging.getLogger(__name__)


class Told(NamedTuple):
    """What those are told who have chosen `key`: `data` is JSON, and None when there is nothing to tell."""

    key: str
    data: bytes | None


class Change:
    """One record, of the stream's partition `part`: see `Kind.places`.

    What it tells is made when it is first asked for, which raises what the codec raises.
    """

    __slots__ = ("_make", "_told", "offset", "part")

    def __init__(self, part: int, offset: int, make: Callable[[], Told]) -> None:
        self.part = part
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


#: Gives an event's key, by which listeners choose, and what they are told.
Tell = Callable[[Any], tuple[str, Row]]


@dataclass(frozen=True)
class Kind:
    """Topics as one stream, each with what is told of it."""

    tells: Mapping[Topic[Any], Tell]

    def places(self, partitions: int) -> list[Place]:
        """All partitions of its topics. Where a stream is, is a position for each, in this order."""
        return [Place(topic, number) for topic in self.tells for number in range(partitions)]


def _of_stock(event: StockEvent) -> tuple[str, Row]:
    """The event has more, as whose order it is, which is nobody's business here."""
    row = stock_view.fold(None, event)
    assert row is not None, "a stock item is never deleted"
    return event.key, {"type": event.type, **row}


def _of_order(event: OrderEvent) -> tuple[str, Row]:
    row = customer_orders.fold(None, event)
    return event.data["customer_id"], {"type": event.type, **row}


def _of_one_order(event: OrderEvent) -> tuple[str, Row]:
    _, told = _of_order(event)
    return event.key, {"about": "order", **told, "reason": event.data["reason"], "updated_at": iso_utc(event.occurred_at)}


def _beside(about: str, fold: Callable[[None, Any], Row]) -> Tell:
    """What belongs to an order, as its view shows it, but for the steps before."""

    def tell(event: Event[Any, Any]) -> tuple[str, Row]:
        row = {name: value for name, value in fold(None, event).items() if name != "steps"}
        return event.key, {"about": about, "type": event.type, **row}

    return tell


STOCK = Kind({stock.TOPIC: _of_stock})
ORDERS = Kind({order.TOPIC: _of_order})
#: All that happens to an order, by its id.
ONE_ORDER = Kind(
    {
        order.TOPIC: _of_one_order,
        payment.TOPIC: _beside("payment", payment_view.fold),
        fulfilment.TOPIC: _beside("fulfilment", fulfilment_view.fold),
        returns.TOPIC: _beside("returns", returns_view.fold),
    }
)


def changes(
    kind: Kind, parts: Mapping[Place, int], records: Iterable[tuple[Place, Record]], codec: Codec
) -> list[Change]:
    """The changes that these records are, in their order; `parts` says which of the stream's partitions each is of."""
    return [
        Change(parts[place], record.offset, partial(_tell, kind, place, record, codec))
        for place, record in records
    ]


def make(found: Iterable[Change]) -> None:
    """Has what they tell made now, in this thread."""
    for change in found:
        change.told  # noqa: B018  # keeps it


def _tell(kind: Kind, place: Place, record: Record, codec: Codec) -> Told:
    topic: Topic[Any] = Topic(place.topic)
    try:
        event: Event = decode(record, codec, topic)
    except Undecodable as error:
        log.warning("%s/%d at offset %d is not told: %s", *place, record.offset, error)
        return Told("", None)
    try:
        key, told = kind.tells[topic](event)
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
        positions[change.part] = change.offset + 1
        key, data = change.told
        if data and (keys is None or key in keys):
            yield frame(positions, data)
