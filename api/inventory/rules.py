"""What may happen to a stock item, and to an order's demand for stock.

available = on_hand - reserved, and neither it nor reserved is ever below 0
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from kernel.context import Context
from kernel.refusals import Conflict, Unknown
from schemas.event import Event

#: The most that any number in events and tables can be: a signed 64-bit integer.
MOST = 2**63 - 1


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
    status: Literal["made", "refused", "released"]
    lines: Sequence[Line]


class Decision(NamedTuple):
    """A reservation as it is now, and the events that made it so, those of stock first."""

    reservation: Reservation
    events: list[Event]


def receive(stock: Stock, quantity: int, context: Context) -> Event:
    """Units have come into the warehouse."""
    if quantity > MOST - stock.on_hand:
        raise Conflict(f"{stock.sku} has {stock.on_hand} on hand: {quantity} more can't be counted.")
    after = stock._replace(on_hand=stock.on_hand + quantity)
    return _stock_event("StockReceived", after, {"quantity": quantity}, context)


def adjust(sku: str, stock: Stock | None, quantity: int, reason: str, context: Context) -> Event:
    """A count found more units (`quantity` above 0) or fewer. Promised units can't be adjusted away."""
    if stock is None:
        raise Unknown(f"There is no stock of {sku}: receive some first.")
    if stock.available + quantity < 0:
        raise Conflict(f"{sku} has {stock.available} available: {-quantity} can't be taken away.")
    if quantity > MOST - stock.on_hand:
        raise Conflict(f"{sku} has {stock.on_hand} on hand: {quantity} more can't be counted.")
    after = stock._replace(on_hand=stock.on_hand + quantity)
    return _stock_event("StockAdjusted", after, {"quantity": quantity, "reason": reason}, context)


def reserve(order_id: str, lines: Sequence[Line], stocks: Mapping[str, Stock], context: Context) -> Decision:
    """Promises stock to an order: every line, or none and a refusal that says what is short."""
    wanted = [(line, stocks.get(line.sku, Stock(line.sku))) for line in lines]
    shortages = [
        {"sku": line.sku, "requested": line.quantity, "available": stock.available}
        for line, stock in wanted
        if line.quantity > stock.available
    ]
    if shortages:
        data = {"order_id": order_id, "reason": "not enough stock", "shortages": shortages}
        refused = context.event("ReservationRefused", order_id, 1, data)
        return Decision(Reservation(order_id, 1, "refused", lines), [refused])
    events = [
        _stock_event(
            "StockReserved",
            stock._replace(reserved=stock.reserved + line.quantity),
            {"order_id": order_id, "quantity": line.quantity},
            context,
        )
        for line, stock in wanted
    ]
    events.append(context.event("ReservationMade", order_id, 1, {"order_id": order_id}))
    return Decision(Reservation(order_id, 1, "made", lines), events)


def release(
    reservation: Reservation | None, stocks: Mapping[str, Stock], context: Context
) -> Decision | None:
    """Frees what a cancelled order was promised; None when it was promised nothing."""
    if reservation is None or reservation.status != "made":
        return None
    order_id = reservation.order_id
    released = reservation._replace(version=reservation.version + 1, status="released")
    events = [
        _stock_event(
            "StockReleased",
            stocks[line.sku]._replace(reserved=stocks[line.sku].reserved - line.quantity),
            {"order_id": order_id, "quantity": line.quantity},
            context,
        )
        for line in reservation.lines
    ]
    events.append(context.event("ReservationReleased", order_id, released.version, {"order_id": order_id}))
    return Decision(released, events)


def evolve(event: Event) -> Stock:
    """The stock item after an event of its own, which carries all of it."""
    return Stock(event.key, event.version, event.data["on_hand"], event.data["reserved"])


def stock_after(events: Sequence[Event]) -> dict[str, Stock]:
    """The stock items that events changed, as they are after the last of them."""
    return {event.key: evolve(event) for event in events if event.type.startswith("Stock")}


def _stock_event(type_: str, after: Stock, data: dict[str, Any], context: Context) -> Event:
    data = {"sku": after.sku, **data, "on_hand": after.on_hand, "reserved": after.reserved}
    return context.event(type_, after.sku, after.version + 1, data)
