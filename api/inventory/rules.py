"""What may happen to a stock item, and to an order's demand for stock.

available = on_hand - reserved, and neither it nor reserved is ever below 0
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypedDict, cast

from kernel.context import Context
from kernel.limits import MAX_NUMBER
from kernel.refusals import Conflict, Unknown, check_seen
from schemas.reservation import (
    ReservationEvent,
    ReservationMade,
    ReservationMadeData,
    ReservationReduced,
    ReservationRefused,
    ReservationRefusedData,
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
    StockShipped,
    StockShippedData,
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


#: What became of an order's demand: what each of its events says.
State = ReservationMadeData


class Reservation(NamedTuple):
    """What became of an order's demand. Version 0: it is not decided."""

    order_id: str
    version: int = 0
    state: State | None = None


class Stopped(TypedDict):
    """What of an order will not be sent, by sku; so its `version` says."""

    version: int
    units: dict[str, int]


class Facts(TypedDict, total=False):
    """The newest that others have said of an order, by sku; the units that came back by the return's number.

    `restocked` are the returns whose units are counted.
    """

    placed: dict[str, int]
    stopped: Stopped
    gone: dict[str, int]
    returned: dict[str, dict[str, int]]
    restocked: list[str]


class Decision(NamedTuple):
    """What happens to stock, then what becomes of the reservation, if anything does; and the facts after that."""

    stock: Sequence[StockEvent]
    event: ReservationEvent | None
    facts: Facts


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


def decide(reservation: Reservation, facts: Facts, stocks: Mapping[str, Stock], context: Context) -> Decision | None:
    """What the facts mean for a reservation now; to be asked again of what it becomes, until there is nothing."""
    state = reservation.state
    if state is None:
        return _reserve(reservation.order_id, facts, stocks, context) if "placed" in facts else None
    return (
        _ship(reservation, state, facts, stocks, context)
        or _release(reservation, state, facts, stocks, context)
        or _restock(facts, stocks, context)
    )


def skus_of(reservation: Reservation, facts: Facts) -> set[str]:
    """Every product of which stock may change."""
    lines = reservation.state["lines"] if reservation.state else []
    returned = (units for units in facts.get("returned", {}).values())
    return {line["sku"] for line in lines} | facts.get("placed", {}).keys() | {sku for units in returned for sku in units}


def _reserve(order_id: str, facts: Facts, stocks: Mapping[str, Stock], context: Context) -> Decision:
    """Promises every line, or none and a refusal that says what is short."""
    lines = facts["placed"]
    later: Facts = {**facts}
    del later["placed"]  # the reservation has them from now on
    wanted = [(stocks.get(sku, Stock(sku)), quantity) for sku, quantity in lines.items()]
    shortages: list[Shortage] = [
        {"sku": stock.sku, "requested": quantity, "available": stock.available}
        for stock, quantity in wanted
        if quantity > stock.available
    ]
    if shortages:
        refused: ReservationRefusedData = {
            **_state(order_id, "refused", []),
            "reason": "not enough stock",
            "shortages": shortages,
        }
        refusal: ReservationRefused = context.event("ReservationRefused", order_id, 1, refused)
        return Decision([], refusal, later)
    made: ReservationMade = context.event("ReservationMade", order_id, 1, _state(order_id, "made", lines.items()))
    reserved = [_reserved(order_id, stock, quantity, context) for stock, quantity in wanted]
    return Decision(reserved, made, later)


def _ship(
    reservation: Reservation, state: State, facts: Facts, stocks: Mapping[str, Stock], context: Context
) -> Decision | None:
    """Units that have left the house are neither on hand nor promised any more."""
    gone = facts.get("gone", {})
    more = _more(state, gone, "consumed")
    if not more:
        return None
    shipped = [_shipped(reservation.order_id, stocks[sku], quantity, context) for sku, quantity in more.items()]
    return Decision(shipped, _reduced(reservation, state, more, "consumed", state["order_version"], context), facts)


def _release(
    reservation: Reservation, state: State, facts: Facts, stocks: Mapping[str, Stock], context: Context
) -> Decision | None:
    """Frees what was cancelled, and answers; also when there was nothing to free."""
    stopped = facts.get("stopped")
    if stopped is None or stopped["version"] <= state["order_version"]:
        return None
    more = _more(state, stopped["units"], "released")
    freed = [_released(reservation.order_id, stocks[sku], quantity, context) for sku, quantity in more.items()]
    return Decision(freed, _reduced(reservation, state, more, "released", stopped["version"], context), facts)


def _restock(facts: Facts, stocks: Mapping[str, Stock], context: Context) -> Decision | None:
    """Units that came back and can be sold again, once a return."""
    restocked = facts.get("restocked", [])
    for number, units in facts.get("returned", {}).items():
        if number not in restocked:
            received = [receive(stocks[sku], quantity, context) for sku, quantity in units.items()]
            return Decision(received, None, {**facts, "restocked": [*restocked, number]})
    return None


def _more(state: State, units: Mapping[str, int], name: Literal["released", "consumed"]) -> dict[str, int]:
    """What of these units is not done yet, and can be: what is promised still."""
    more = {
        line["sku"]: min(units.get(line["sku"], 0) - line[name], line["reserved"] - line["released"] - line["consumed"])
        for line in state["lines"]
    }
    return {sku: quantity for sku, quantity in more.items() if quantity > 0}


def _reduced(
    reservation: Reservation,
    state: State,
    more: Mapping[str, int],
    name: Literal["released", "consumed"],
    order_version: int,
    context: Context,
) -> ReservationReduced:
    lines: list[Any] = [{**line, name: line[name] + more.get(line["sku"], 0)} for line in state["lines"]]
    status = state["status"]
    if status == "made" and all(line["reserved"] == line["released"] + line["consumed"] for line in lines):
        status = "consumed" if any(line["consumed"] for line in lines) else "released"
    data: State = {**state, "reason": None, "status": status, "lines": lines, "order_version": order_version}
    return context.event("ReservationReduced", reservation.order_id, reservation.version + 1, data)


def _state(order_id: str, status: ReservationStatus, lines: Iterable[tuple[str, int]]) -> State:
    return {
        "order_id": order_id,
        "status": status,
        "reason": None,
        "order_version": 1,
        "lines": [{"sku": sku, "reserved": quantity, "released": 0, "consumed": 0} for sku, quantity in lines],
    }


def reservation_after(event: ReservationEvent) -> State:
    """The reservation after an event of its own."""
    if event.type == "ReservationRefused":
        data = {name: value for name, value in event.data.items() if name != "shortages"}
        return cast("State", data)
    return event.data


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


def _shipped(order_id: str, stock: Stock, quantity: int, context: Context) -> StockShipped:
    data: StockShippedData = {
        "sku": stock.sku,
        "order_id": order_id,
        "quantity": quantity,
        "on_hand": stock.on_hand - quantity,
        "reserved": stock.reserved - quantity,
    }
    return context.event("StockShipped", stock.sku, stock.version + 1, data)
