"""What may happen to a stock item, and to an order's demand for stock.

available = on_hand - reserved, and neither it nor reserved is ever below 0
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from kernel.context import Context
from kernel.limits import MAX_NUMBER
from kernel.refusals import Conflict, Unknown, check_seen
from schemas.reservation import (
    ReservationEvent,
    ReservationMade,
    ReservationRefused,
    ReservationRefusedData,
    ReservationReleased,
    ReservationStatus,
    Shortage,
)
from schemas.stock import (
    StockAdjusted,
    StockAdjustedData,
    StockEvent,
    StockReceived,
    StockReceivedData,
    StockReleased,
    StockReleasedData,
    StockReserved,
    StockReservedData,
)


class Stock(NamedTuple):
    """A stock item as it is now, in units. Version 0: nothing has happened to it yet."""

    sku: str
    version: int = 0
    on_hand: int = 0
    reserved: int = 0

    @property
    def available(self) -> int:
        """Units that can still be promised."""
        return self.on_hand - self.reserved


class Line(NamedTuple):
    """Units of one product that an order wants."""

    sku: str
    quantity: int


class Reservation(NamedTuple):
    """What became of an order's demand. Its lines are kept so that they can be released."""

    order_id: str
    version: int
    status: ReservationStatus
    lines: Sequence[Line]


class Decision(NamedTuple):
    """A reservation as it is now, its event, and those of stock, which come first."""

    reservation: Reservation
    event: ReservationEvent
    stock: Sequence[StockEvent]


def receive(stock: Stock, quantity: int, context: Context, expected: Collection[int] | None = None) -> StockReceived:
    """Units have come into the warehouse. `expected` are the versions that will do; None if any will."""
    check_seen(f"Stock of {stock.sku}", stock.version, expected)
    on_hand = _counted(stock, quantity)
    data: StockReceivedData = {
        "sku": stock.sku,
        "quantity": quantity,
        "on_hand": on_hand,
        "reserved": stock.reserved,
    }
    return context.event("StockReceived", stock.sku, stock.version + 1, data)


def adjust(
    sku: str, stock: Stock | None, quantity: int, reason: str, context: Context, expected: Collection[int] | None = None
) -> StockAdjusted:
    """A count found more units (`quantity` above 0) or fewer. Promised units can't be adjusted away.

    `expected` are the versions that will do; None if any will.
    """
    if stock is None:
        raise Unknown(f"There is no stock of {sku}: receive some first.")
    check_seen(f"Stock of {sku}", stock.version, expected)
    if stock.available + quantity < 0:
        raise Conflict(f"{sku} has {stock.available} available: {-quantity} can't be taken away.")
    data: StockAdjustedData = {
        "sku": sku,
        "quantity": quantity,
        "reason": reason,
        "on_hand": _counted(stock, quantity),
        "reserved": stock.reserved,
    }
    return context.event("StockAdjusted", sku, stock.version + 1, data)


def reserve(
    order_id: str,
    lines: Sequence[Line],
    reservation: Reservation | None,
    stocks: Mapping[str, Stock],
    context: Context,
) -> Decision | None:
    """Promises stock to an order: every line, or none and a refusal that says what is short.

    None when the order has its answer, whatever became of it since.
    """
    if reservation is not None:
        return None
    wanted = [(line, stocks.get(line.sku, Stock(line.sku))) for line in lines]
    shortages: list[Shortage] = [
        {"sku": line.sku, "requested": line.quantity, "available": stock.available}
        for line, stock in wanted
        if line.quantity > stock.available
    ]
    if shortages:
        data: ReservationRefusedData = {"order_id": order_id, "reason": "not enough stock", "shortages": shortages}
        refused: ReservationRefused = context.event("ReservationRefused", order_id, 1, data)
        return Decision(Reservation(order_id, 1, "refused", lines), refused, [])
    made: ReservationMade = context.event("ReservationMade", order_id, 1, {"order_id": order_id})
    reserved = [_reserved(order_id, stock, line.quantity, context) for line, stock in wanted]
    return Decision(Reservation(order_id, 1, "made", lines), made, reserved)


def release(
    reservation: Reservation | None, stocks: Mapping[str, Stock], context: Context
) -> Decision | None:
    """Frees what a cancelled order was promised; None when it is promised nothing."""
    if reservation is None or reservation.status != "made":
        return None
    order_id, version = reservation.order_id, reservation.version + 1
    freed: ReservationReleased = context.event("ReservationReleased", order_id, version, {"order_id": order_id})
    return Decision(
        reservation._replace(version=version, status="released"),
        freed,
        [_released(order_id, stocks[line.sku], line.quantity, context) for line in reservation.lines],
    )


def evolve(event: StockEvent) -> Stock:
    """The stock item after an event of its own, which carries all of it."""
    return Stock(event.key, event.version, event.data["on_hand"], event.data["reserved"])


def stock_after(events: Iterable[StockEvent]) -> dict[str, Stock]:
    """The stock items that events changed, as they are after the last of them."""
    return {event.key: evolve(event) for event in events}


def _counted(stock: Stock, quantity: int) -> int:
    """What is on hand with so many units more."""
    if quantity > MAX_NUMBER - stock.on_hand:
        raise Conflict(f"{stock.sku} has {stock.on_hand} on hand: {quantity} more can't be counted.")
    return stock.on_hand + quantity


def _reserved(order_id: str, stock: Stock, quantity: int, context: Context) -> StockReserved:
    data: StockReservedData = {
        "sku": stock.sku,
        "order_id": order_id,
        "quantity": quantity,
        "on_hand": stock.on_hand,
        "reserved": stock.reserved + quantity,
    }
    return context.event("StockReserved", stock.sku, stock.version + 1, data)


def _released(order_id: str, stock: Stock, quantity: int, context: Context) -> StockReleased:
    data: StockReleasedData = {
        "sku": stock.sku,
        "order_id": order_id,
        "quantity": quantity,
        "on_hand": stock.on_hand,
        "reserved": stock.reserved - quantity,
    }
    return context.event("StockReleased", stock.sku, stock.version + 1, data)
