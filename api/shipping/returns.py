"""What becomes of units that a customer gives back.

The transitions are those of the table "Returns" in docs/sagas.md. Each order has one aggregate of returns, in which they are numbered.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypedDict

from kernel.context import Context
from kernel.refusals import Conflict, FieldError, Invalid, Unknown
from schemas.event import Event
from schemas.returns import Return, ReturnRequestedData, ReturnsEvent, ReturnsEventType, ReturnStatus

#: What returns are: what each of their events says.
State = ReturnRequestedData

#: What does not take units any more.
OVER: frozenset[ReturnStatus] = frozenset({"rejected", "cancelled", "expired"})
#: For how long a return waits to be approved, and then to come.
WITHIN = timedelta(days=30)
#: Returns of an order, and products in all of them together: their events carry all.
MOST_RETURNS, MOST_RETURNED = 200, 2_000
_WAITING: frozenset[ReturnStatus] = frozenset({"requested", "approved"})


class Taken(TypedDict):
    """What orders have said last: by return, the order's version that has taken it in."""

    versions: dict[str, int]


class Wanted(TypedDict):
    """An exchange for which units are to come back, by sku."""

    exchange_id: str
    units: dict[str, int]


class Facts(TypedDict, total=False):
    """The newest that others have said; `settled_version` is of payments."""

    order: Taken
    settled_version: int
    exchange: Wanted


class Delivered(NamedTuple):
    """What the order's fulfilment says: whose it is, what one unit of each product costs, and how many have arrived, by sku."""

    order_id: str
    customer_id: str
    currency: str
    prices: Mapping[str, int]
    units: Mapping[str, int]


class Returns(NamedTuple):
    """The returns of an order. Version 0: there is none."""

    order_id: str
    version: int
    state: State | None
    facts: Facts


def run(returns: Returns, context: Context) -> list[ReturnsEvent]:
    """All that follows from the facts, in order."""
    events: list[ReturnsEvent] = []
    while event := decide(returns, context):
        events.append(event)
        returns = evolve(returns, event)
    return events


def evolve(returns: Returns, event: ReturnsEvent) -> Returns:
    """The returns after an event of their own."""
    return returns._replace(version=event.version, state=event.data)


def decide(returns: Returns, context: Context) -> ReturnsEvent | None:
    """What the facts mean for the returns now: one that the order has taken in, and that is paid back, is over."""
    if returns.state is None:
        return None
    versions = returns.facts["order"]["versions"] if "order" in returns.facts else {}
    settled_version = returns.facts.get("settled_version", 0)
    for each in returns.state["returns"]:
        version = versions.get(str(each["number"]))
        if each["status"] == "accepted" and version and settled_version >= version:
            return _changed(returns, each | {"status": "refunded"}, "ReturnRefunded", None, context)
    return None


def request(
    order_id: str,
    returns: Returns,
    delivered: Delivered | None,
    units: Mapping[str, int],
    exchange_id: str | None,
    within: timedelta,
    context: Context,
) -> ReturnsEvent:
    """A customer wants to give units back. Refused when they have not arrived, or come back already."""
    if delivered is None:
        raise Unknown(f"Nothing of order {order_id} has been sent.")
    coming = _coming(returns.state)
    errors = [
        FieldError("units", f"{sku} has {there} units that could come back")
        for sku, quantity in units.items()
        if quantity > (there := delivered.units.get(sku, 0) - coming.get(sku, 0))
    ]
    if errors:
        raise Invalid("More units can't come back than have arrived.", errors)
    before = returns.state["returns"] if returns.state else []
    if len(before) >= MOST_RETURNS or len(units) + sum(len(each["units"]) for each in before) > MOST_RETURNED:
        raise Conflict(f"Of order {order_id} too much was given back already.")
    return _added(returns, delivered, _new(units, exchange_id, context.now + within, None), context)


def request_for_exchange(
    returns: Returns, delivered: Delivered | None, wanted: Wanted, within: timedelta, context: Context
) -> ReturnsEvent | None:
    """As `request`, for an exchange, which has to be answered: what is refused is a return that is rejected.

    None when it has its return.
    """
    if returns.state and any(each["exchange_id"] == wanted["exchange_id"] for each in returns.state["returns"]):
        return None
    try:
        return request(returns.order_id, returns, delivered, wanted["units"], wanted["exchange_id"], within, context)
    except (Conflict, Invalid, Unknown) as refusal:
        nothing = delivered or Delivered(returns.order_id, "", "", {}, {})
        return _added(returns, nothing, _new({}, wanted["exchange_id"], None, refusal.detail), context)


def approve(returns: Returns, number: int, within: timedelta, context: Context) -> ReturnsEvent:
    """Units may be sent back, within that time."""
    found = _in(returns, number, {"requested"}, "approved")
    return _changed(returns, found | {"status": "approved", "expires_at": context.now + within}, "ReturnApproved", None, context)


def reject(returns: Returns, number: int, reason: str, context: Context) -> ReturnsEvent:
    """Units may not come back, or were not fit for it."""
    found = _in(returns, number, {"requested", "received"}, "rejected")
    return _ended(returns, found, "rejected", "ReturnRejected", reason, context)


def cancel(returns: Returns, number: int, context: Context) -> ReturnsEvent:
    """The customer keeps them."""
    found = _in(returns, number, _WAITING, "cancelled")
    return _ended(returns, found, "cancelled", "ReturnCancelled", None, context)


def receive(returns: Returns, number: int, context: Context) -> ReturnsEvent:
    """Units have come back and were counted."""
    found = _in(returns, number, {"approved"}, "received")
    return _changed(returns, found | {"status": "received", "expires_at": None}, "ReturnReceived", None, context)


def accept(
    returns: Returns, number: int, delivered: Delivered, value_minor: int | None, is_restocked: bool, context: Context  # noqa: FBT001  a fact
) -> ReturnsEvent:
    """Units were inspected: they are worth what they cost, or less."""
    found = _in(returns, number, {"received"}, "accepted")
    most_minor = sum(each["quantity"] * delivered.prices[each["sku"]] for each in found["units"])
    value_minor = most_minor if value_minor is None else value_minor
    if value_minor > most_minor:
        raise Invalid("They can't be worth more than they cost.", [FieldError("value_minor", f"they cost {most_minor}")])
    accepted = found | {"status": "accepted", "value_minor": value_minor, "is_restocked": is_restocked}
    return _changed(returns, accepted, "ReturnAccepted", None, context)


def find_expired(returns: Returns, context: Context) -> ReturnsEvent | None:
    """A return that has waited for too long, if there is one."""
    assert returns.state is not None
    for each in returns.state["returns"]:
        if each["status"] in _WAITING and each["expires_at"] and each["expires_at"] <= context.now:
            return _ended(returns, each, "expired", "ReturnExpired", "it did not come in time", context)
    return None


def expires_next(state: State) -> datetime | None:
    """When the next one expires that waits; None when none does."""
    return min((each["expires_at"] for each in state["returns"] if each["status"] in _WAITING and each["expires_at"]), default=None)


def _coming(state: State | None) -> dict[str, int]:
    counted: dict[str, int] = {}
    for each in state["returns"] if state else []:
        if each["status"] not in OVER:
            for units in each["units"]:
                counted[units["sku"]] = counted.get(units["sku"], 0) + units["quantity"]
    return counted


def _new(units: Mapping[str, int], exchange_id: str | None, expires_at: datetime | None, reason: str | None) -> Return:
    """A return that is asked for; or, with a reason, that is refused."""
    return {
        "number": 0,
        "status": "rejected" if reason else "requested",
        "units": [{"sku": sku, "quantity": quantity} for sku, quantity in units.items()],
        "value_minor": 0,
        "is_restocked": False,
        "exchange_id": exchange_id,
        "expires_at": expires_at,
        "reason": reason,
    }


def _added(returns: Returns, delivered: Delivered, new: Return, context: Context) -> ReturnsEvent:
    before: Sequence[Return] = returns.state["returns"] if returns.state else []
    state: State = {
        "order_id": returns.order_id,
        "customer_id": delivered.customer_id,
        "currency": delivered.currency,
        "reason": new["reason"],
        "returns": [*before, new | {"number": len(before) + 1}],
    }
    return _event(returns, state, "ReturnRejected" if new["status"] == "rejected" else "ReturnRequested", context)


def _in(returns: Returns, number: int, statuses: Collection[ReturnStatus], what: str) -> Return:
    for each in returns.state["returns"] if returns.state else []:
        if each["number"] == number:
            if each["status"] not in statuses:
                raise Conflict(f"Return {number} is {each['status']}: it can't be {what}.")
            return each
    raise Unknown(f"Order {returns.order_id} has no return {number}.")


def _ended(
    returns: Returns, found: Return, status: ReturnStatus, type_: ReturnsEventType, reason: str | None, context: Context
) -> ReturnsEvent:
    return _changed(returns, found | {"status": status, "expires_at": None, "reason": reason}, type_, reason, context)


def _changed(returns: Returns, changed: Return, type_: ReturnsEventType, reason: str | None, context: Context) -> ReturnsEvent:
    assert returns.state is not None
    all_of_them = [changed if each["number"] == changed["number"] else each for each in returns.state["returns"]]
    return _event(returns, {**returns.state, "returns": all_of_them, "reason": reason}, type_, context)


def _event(returns: Returns, state: State, type_: ReturnsEventType, context: Context) -> ReturnsEvent:
    event: Event[Any, Any] = context.event(type_, returns.order_id, returns.version + 1, state)
    return event
