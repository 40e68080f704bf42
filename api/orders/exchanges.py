"""An exchange: units of one order come back, and what they are worth pays for another. The one process with an orchestrator.

It is one row that knows its step: what it wants others to do it publishes on its own topic, their answers come on theirs, and only
the answer that the step waits for counts. docs/sagas.md compares this with how orders do it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypedDict

from kernel.context import Context
from kernel.refusals import Conflict
from schemas.event import Event
from schemas.exchange import (
    ExchangeEvent,
    ExchangeEventType,
    ExchangeRequested,
    ExchangeRequestedData,
    ExchangeStep,
)
from schemas.order import OrderStatus
from schemas.returns import ReturnStatus

#: What an exchange is: what each of its events says.
State = ExchangeRequestedData

#: Exchanges of units of one order: what is known of each is kept with the order, and their returns are in one event.
MOST = 50
#: Why an exchange ends that takes too long.
TOO_LATE = "it was not finished in time"

_UNDONE: frozenset[OrderStatus] = frozenset({"rejected", "undoing", "cancelled"})
_NO_RETURN: frozenset[ReturnStatus] = frozenset({"rejected", "cancelled", "expired"})


class NewOrder(TypedDict):
    """What has become of the order that was placed."""

    status: OrderStatus
    total_minor: int
    reason: str | None


class CameBack(TypedDict):
    """What has become of the return."""

    number: int
    status: ReturnStatus
    value_minor: int
    reason: str | None


class Facts(TypedDict, total=False):
    """The newest of both."""

    new_order: NewOrder
    returned: CameBack


class Exchange(NamedTuple):
    """An exchange as it is now."""

    version: int
    state: State


def check(order_id: str, status: OrderStatus, begun: int) -> None:
    """Raises Conflict when nothing of an order can be exchanged: it is not sent, or so many exchanges were begun already."""
    if status not in ("confirmed", "completed"):
        raise Conflict(f"Order {order_id} is {status}: nothing of it can be exchanged.")
    if begun >= MOST:
        raise Conflict(f"Of order {order_id} units were exchanged {MOST} times: that is the most.")


def request(exchange_id: str, order_id: str, new_order_id: str, customer_id: str, units: Mapping[str, int], context: Context) -> ExchangeEvent:
    """Units of an order are to be exchanged for the new order, which is placed with it."""
    state: State = {
        "exchange_id": exchange_id,
        "order_id": order_id,
        "new_order_id": new_order_id,
        "customer_id": customer_id,
        "step": "reserving",
        "reason": None,
        "units": [{"sku": sku, "quantity": quantity} for sku, quantity in units.items()],
        "return_number": None,
        "value_minor": 0,
        "credit_minor": 0,
    }
    requested: ExchangeRequested = context.event("ExchangeRequested", exchange_id, 1, state)
    return requested


def run(exchange: Exchange, facts: Facts, context: Context) -> list[ExchangeEvent]:
    """All that follows from the facts, in order."""
    events: list[ExchangeEvent] = []
    while event := decide(exchange, facts, context):
        events.append(event)
        exchange = evolve(event)
    return events


def evolve(event: ExchangeEvent) -> Exchange:
    """The exchange after an event of its own."""
    return Exchange(event.version, event.data)


def decide(exchange: Exchange, facts: Facts, context: Context) -> ExchangeEvent | None:
    """What the answer means for which the step waits; None while it has not come."""
    decision = _STEPS.get(exchange.state["step"])
    return decision(exchange, facts, context) if decision else None


def give_up(exchange: Exchange, context: Context) -> ExchangeEvent | None:
    """The time is over; None when it has ended, or only the new order's own way is left."""
    if exchange.state["step"] not in ("reserving", "returning"):
        return None
    return _event("ExchangeFailed", exchange, "failed", context, reason=TOO_LATE)


def _reserving(exchange: Exchange, facts: Facts, context: Context) -> ExchangeEvent | None:
    new = facts.get("new_order")
    if new and new["status"] in _UNDONE:
        return _event("ExchangeFailed", exchange, "failed", context, reason=new["reason"])
    if new and new["status"] == "reserved":
        return _event("ExchangeReturnWanted", exchange, "returning", context)
    return None


def _returning(exchange: Exchange, facts: Facts, context: Context) -> ExchangeEvent | None:
    new, returned = facts.get("new_order"), facts.get("returned")
    if new and new["status"] in _UNDONE:
        return _event("ExchangeFailed", exchange, "failed", context, reason=new["reason"])
    if returned and returned["status"] in _NO_RETURN:
        return _event("ExchangeFailed", exchange, "failed", context, reason=returned["reason"], return_number=returned["number"])
    if returned and new and returned["status"] in ("accepted", "refunded"):
        return _event(
            "CreditDecided",
            exchange,
            "crediting",
            context,
            return_number=returned["number"],
            value_minor=returned["value_minor"],
            credit_minor=min(returned["value_minor"], new["total_minor"]),
        )
    return None


def _crediting(exchange: Exchange, facts: Facts, context: Context) -> ExchangeEvent | None:
    new = facts.get("new_order")
    if new and new["status"] in _UNDONE:
        return _event("ExchangeFailed", exchange, "failed", context, reason=new["reason"])
    if new and new["status"] not in ("placed", "reserved"):
        return _event("ExchangeFinished", exchange, "finished", context)
    return None


_STEPS: Mapping[ExchangeStep, Callable[[Exchange, Facts, Context], ExchangeEvent | None]] = {
    "reserving": _reserving,
    "returning": _returning,
    "crediting": _crediting,
}


def _event(
    type_: ExchangeEventType, exchange: Exchange, step: ExchangeStep, context: Context, *, reason: str | None = None, **changes: Any
) -> ExchangeEvent:
    state: dict[str, Any] = {**exchange.state, **changes, "step": step, "reason": reason}
    event: Event[Any, Any] = context.event(type_, state["exchange_id"], exchange.version + 1, state)
    return event
