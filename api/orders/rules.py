"""What becomes of an order: facts come from the other services in any order, and `decide` says what they mean now.

The transitions are those of the table "Order" in docs/sagas.md. `due` is what the customer owes in all; payments make money
follow it, and nothing else does.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypedDict, cast

from kernel.context import Context
from kernel.refusals import Conflict, FieldError, Invalid, Unknown, check_seen
from schemas.event import Event
from schemas.order import OrderConfirmedData, OrderEvent, OrderEventType, OrderStatus, OrderUnits, Units

#: What an order is: what each of its events but the first says.
State = OrderConfirmedData

#: Why an order is cancelled that has waited for too long.
UNANSWERED = "the inventory did not answer in time"
UNPAID = "it was not paid in time"
OTHER_AMOUNT = "another amount than what is due was authorized"
DECLINED = "the card was declined"

#: For how long a parcel that is packed and not paid for stays.
HOLD = timedelta(days=3)


class Order(NamedTuple):
    """An order as it is now."""

    version: int
    state: State


class Reserved(TypedDict):
    """What the inventory has said last; it has answered the order's `order_version`."""

    is_refused: bool
    order_version: int
    reason: str | None


class Paid(TypedDict):
    """What payments have said last. `authorized_minor` is None while nothing is; `paid_minor` is what we have and keep."""

    authorized_minor: int | None
    is_declined: bool
    reason: str | None
    order_version: int
    settled_version: int
    paid_minor: int


class Sent(TypedDict):
    """What shipping has said last: units by sku, those lost by shipment. `answered` is the last request to stop units."""

    answered: int
    stopped: dict[str, int]
    held: dict[str, int]
    delivered: int
    lost: dict[str, dict[str, int]]


class Accepted(TypedDict):
    """A return that was accepted."""

    number: int
    value_minor: int
    exchange_id: str | None


class Facts(TypedDict, total=False):
    """The newest that each of the others has said.

    `given` is, by exchange, what of a return's value was decided to pay for the order in exchange, and `used` what that order
    needs of it; `got` is what this order was decided to get.
    """

    reservation: Reserved
    payment: Paid
    fulfilment: Sent
    returns: list[Accepted]
    given: dict[str, int]
    used: dict[str, int]
    got: int


def decide(order: Order, facts: Facts, context: Context) -> OrderEvent | None:
    """What the facts mean for the order now; to be asked again of what it becomes, until there is nothing."""
    return _credit(order, facts, context) or _DECISIONS[order.state["status"]](order, facts, context)


def run(order: Order, facts: Facts, context: Context) -> list[OrderEvent]:
    """All that follows, in order."""
    events: list[OrderEvent] = []
    while event := decide(order, facts, context):
        events.append(event)
        order = evolve(event)
    return events


def evolve(event: OrderEvent) -> Order:
    """The order after an event of its own."""
    if event.type == "OrderPlaced":
        data = cast("dict[str, Any]", event.data)
        kept = {name: data[name] for name in data if name != "lines"}
        return Order(event.version, cast("State", {**kept, **_new(data["lines"])}))
    return Order(event.version, event.data)


def cancel(
    order_id: str, order: Order | None, units: Mapping[str, int] | None, expected: Collection[int] | None, context: Context
) -> OrderEvent | None:
    """Takes an order back, or some units of it (by sku); None when all of it has been already.

    `expected` are the versions that will do; None if any will.
    """
    order = _seen(order_id, order, expected)
    match order.state["status"]:
        case "cancelled" if units is None:
            return None
        case "placed" | "reserved":
            if units is not None:
                raise Conflict(f"Order {order_id} is not confirmed yet: only the whole of it can be cancelled.")
            return _cancel_all(order, None, context)
        case "confirmed":
            return _request(order, units or left(order.state), None, context)
        case "stopping" | "undoing":
            raise Conflict(f"Of order {order_id} something is being cancelled already: wait for that.")
    raise Conflict(f"Order {order_id} is {order.state['status']}: there is nothing to cancel.")


def expire(order: Order, context: Context) -> OrderEvent | None:
    """The time to be reserved and paid is over; None when the order is past that."""
    match order.state["status"]:
        case "placed":
            return _cancel_all(order, UNANSWERED, context)
        case "reserved":
            return _cancel_all(order, UNPAID, context)
    return None


def undo(order: Order, reason: str | None, context: Context) -> OrderEvent | None:
    """The exchange for which it was placed has failed; None when it is past being undone, or is undone already."""
    return _cancel_all(order, reason, context) if order.state["status"] in ("placed", "reserved") else None


def give_up_held(order: Order, facts: Facts, context: Context) -> OrderEvent | None:
    """The time is over in which parcels that are not paid for are kept; None when there is none, or not now."""
    held = facts["fulfilment"]["held"] if "fulfilment" in facts else {}
    if order.state["status"] != "confirmed" or not held:
        return None
    return _request(order, held, UNPAID, context)


def goodwill(
    order_id: str, order: Order | None, amount_minor: int, reason: str, expected: Collection[int] | None, context: Context
) -> OrderEvent:
    """The shop gives up some of what is due. `expected` are the versions that will do; None if any will."""
    order = _seen(order_id, order, expected)
    if order.state["status"] not in ("confirmed", "completed"):
        raise Conflict(f"Order {order_id} is {order.state['status']}: nothing of it can be given up.")
    due_minor = order.state["due_minor"]
    if amount_minor > due_minor:
        raise Invalid(
            "More can't be given up than is due.", [FieldError("amount_minor", f"{due_minor} minor units are due")]
        )
    return _event(
        "OrderDueChanged", order, context, reason=reason, goodwill_minor=order.state["goodwill_minor"] + amount_minor
    )


def left(state: State) -> dict[str, int]:
    """By sku, the units that are neither cancelled nor lost."""
    counted = {each["sku"]: each["quantity"] - each["cancelled"] - each["lost"] for each in state["units"]}
    return {sku: quantity for sku, quantity in counted.items() if quantity}


def kept(state: State) -> int:
    """Units that are not cancelled."""
    return sum(each["quantity"] - each["cancelled"] for each in state["units"])


def is_settled(state: State, facts: Facts) -> bool:
    """Whether what is due is paid, no more and no less, and payments have nothing left to do."""
    payment = facts.get("payment")
    return (
        payment is not None
        and payment["settled_version"] >= state["due_version"]
        and payment["paid_minor"] == state["due_minor"]
    )


def _placed(order: Order, facts: Facts, context: Context) -> OrderEvent | None:
    answer = facts.get("reservation")
    if answer is None:
        return None
    if answer["is_refused"]:
        units = _units(order.state, left(order.state), "cancelled")
        total_minor = order.state["total_minor"]
        return _event("OrderRejected", order, context, "rejected", reason=answer["reason"], units=units, cancelled_minor=total_minor)
    return _event("OrderReserved", order, context, "reserved")


def _reserved(order: Order, facts: Facts, context: Context) -> OrderEvent | None:
    payment = facts.get("payment")
    if payment is None or payment["order_version"] < order.state["due_version"]:
        return None
    if payment["authorized_minor"] is None:
        return _cancel_all(order, payment["reason"] or DECLINED, context) if payment["is_declined"] else None
    if payment["authorized_minor"] != order.state["due_minor"]:
        return _cancel_all(order, OTHER_AMOUNT, context)
    return _event("OrderConfirmed", order, context, "confirmed")


def _confirmed(order: Order, facts: Facts, context: Context) -> OrderEvent | None:
    return _lose(order, facts, context) or _returned(order, facts, context) or _complete(order, facts, context)


def _stopping(order: Order, facts: Facts, context: Context) -> OrderEvent | None:
    asked, sent = order.state["cancel"], facts.get("fulfilment")
    if sent is None or asked is None or sent["answered"] < asked["number"]:
        return None
    if not sent["stopped"]:
        return _event("OrderCancelDeclined", order, context, "confirmed", reason="all of it had left the house")
    return _cancel_lines(order, sent["stopped"], order.state["reason"], context)


def _undoing(order: Order, facts: Facts, context: Context) -> OrderEvent | None:
    version = order.state["undone_version"]
    reservation, payment = facts.get("reservation"), facts.get("payment")
    if not reservation or not payment:
        return None
    if reservation["order_version"] < version or payment["settled_version"] < version:
        return None
    if kept(order.state):
        return _event("OrderAmended", order, context, "confirmed")
    return _event("OrderCancelled", order, context, "cancelled", reason=order.state["reason"])


def _returned(order: Order, facts: Facts, context: Context) -> OrderEvent | None:
    """A return that was accepted lowers what is due, once; what of it goes to another order raises it."""
    state, given = order.state, facts.get("given", {})
    taken = {each["number"] for each in state["returns_taken"]}
    accepted = facts.get("returns", [])
    for each in accepted:
        if each["number"] not in taken and (each["exchange_id"] is None or each["exchange_id"] in given):
            return _event(
                "OrderDueChanged",
                order,
                context,
                reason=f"return {each['number']} was accepted",
                returned_minor=state["returned_minor"] + each["value_minor"],
                credit_given_minor=_given(facts, {*taken, each["number"]}),
                returns_taken=[*state["returns_taken"], {"number": each["number"], "version": order.version + 1}],
            )
    given_minor = _given(facts, taken)
    if given_minor != state["credit_given_minor"]:
        return _event(
            "OrderDueChanged", order, context, reason="the order in exchange needs less", credit_given_minor=given_minor
        )
    return None


def _completed(order: Order, facts: Facts, context: Context) -> OrderEvent | None:
    return _returned(order, facts, context)


def _nothing(order: Order, facts: Facts, context: Context) -> OrderEvent | None:
    return None


_DECISIONS = {
    "placed": _placed,
    "reserved": _reserved,
    "confirmed": _confirmed,
    "stopping": _stopping,
    "undoing": _undoing,
    "completed": _completed,
    "cancelled": _nothing,
    "rejected": _nothing,
}


def _credit(order: Order, facts: Facts, context: Context) -> OrderEvent | None:
    """Of an order in exchange: what it gets of the other's return, and what of that it does not need."""
    state = order.state
    if "got" not in facts or state["status"] == "placed":
        return None
    needed_minor = max(0, _raw_due(state) + state["credit_got_minor"])
    if not state["is_credited"]:
        if state["status"] == "reserved":
            got_minor = min(facts["got"], needed_minor)
            return _event(
                "OrderDueChanged", order, context, reason="credit of the exchange", is_credited=True, credit_got_minor=got_minor
            )
        return _event("OrderCreditReturned", order, context, is_credited=True)
    if state["credit_got_minor"] > needed_minor:
        return _event("OrderCreditReturned", order, context, credit_got_minor=needed_minor)
    return None


def _given(facts: Facts, taken: Collection[int]) -> int:
    """What of these returns pays for orders in exchange."""
    given, used = facts.get("given", {}), facts.get("used", {})
    return sum(
        used.get(each["exchange_id"], given[each["exchange_id"]])
        for each in facts.get("returns", [])
        if each["number"] in taken and each["exchange_id"] in given
    )


def _lose(order: Order, facts: Facts, context: Context) -> OrderEvent | None:
    state, sent = order.state, facts.get("fulfilment")
    lost = {int(number): units for number, units in sent["lost"].items()} if sent else {}
    for number in sorted(lost.keys() - {*state["shipments_lost"]}):
        return _event(
            "OrderLinesLost",
            order,
            context,
            reason=f"shipment {number} was lost",
            units=_units(state, lost[number], "lost"),
            lost_minor=state["lost_minor"] + _worth(state, lost[number]),
            shipments_lost=[*state["shipments_lost"], number],
        )
    return None


def _complete(order: Order, facts: Facts, context: Context) -> OrderEvent | None:
    state, sent = order.state, facts.get("fulfilment")
    if sent is None or not is_settled(state, facts):
        return None
    lost = sum(each["lost"] for each in state["units"])
    if sent["delivered"] + lost < kept(state):
        return None
    return _event("OrderCompleted", order, context, "completed")


def _request(order: Order, units: Mapping[str, int], reason: str | None, context: Context) -> OrderEvent:
    state, there = order.state, left(order.state)
    errors = [
        FieldError("units", f"{sku} has {there.get(sku, 0)} units that could be stopped")
        for sku, quantity in units.items()
        if quantity > there.get(sku, 0)
    ]
    if errors:
        raise Invalid("More units can't be cancelled than there are.", errors)
    number = state["cancel"]["number"] + 1 if state["cancel"] else 1
    asked: list[Units] = [{"sku": sku, "quantity": quantity} for sku, quantity in units.items()]
    return _event(
        "OrderCancelRequested", order, context, "stopping", reason=reason, cancel={"number": number, "units": asked}
    )


def _cancel_all(order: Order, reason: str | None, context: Context) -> OrderEvent:
    return _cancel_lines(order, left(order.state), reason, context)


def _cancel_lines(order: Order, units: Mapping[str, int], reason: str | None, context: Context) -> OrderEvent:
    """Inventory and payments have to answer this version, whether or not there is anything for them to do."""
    state, version = order.state, order.version + 1
    return _event(
        "OrderLinesCancelled",
        order,
        context,
        "undoing",
        reason=reason,
        units=_units(state, units, "cancelled"),
        cancelled_minor=state["cancelled_minor"] + _worth(state, units),
        undone_version=version,
        due_version=version,
    )


def _event(
    type_: OrderEventType, order: Order, context: Context, status: OrderStatus | None = None, **changes: Any
) -> OrderEvent:
    """The order with these changes, and what is due after them."""
    version = order.version + 1
    state: dict[str, Any] = {**order.state, "reason": None, **changes, "status": status or order.state["status"]}
    state["due_minor"] = max(0, _raw_due(state))
    if state["due_minor"] != order.state["due_minor"]:
        state["due_version"] = version
    event: Event[Any, Any] = context.event(type_, state["order_id"], version, state)
    return event


def _raw_due(state: Mapping[str, Any]) -> int:
    """Always from the sums, so that what is given up or lost twice lowers nothing twice."""
    less = ("cancelled_minor", "lost_minor", "returned_minor", "goodwill_minor", "credit_got_minor")
    due: int = state["total_minor"] + state["credit_given_minor"] - sum(state[name] for name in less)
    return due


def _units(state: State, more: Mapping[str, int], name: str) -> list[OrderUnits]:
    return [cast("OrderUnits", {**each, name: each[name] + more.get(each["sku"], 0)}) for each in state["units"]]  # type: ignore[literal-required]


def _worth(state: State, units: Mapping[str, int]) -> int:
    return sum(each["unit_price_minor"] * units.get(each["sku"], 0) for each in state["units"])


def _new(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    units = [
        {**{name: line[name] for name in ("sku", "quantity", "unit_price_minor")}, "cancelled": 0, "lost": 0} for line in lines
    ]
    sums = ("cancelled_minor", "lost_minor", "returned_minor", "goodwill_minor", "credit_given_minor", "credit_got_minor")
    return {
        "units": units,
        **dict.fromkeys(sums, 0),
        "is_credited": False,
        "cancel": None,
        "undone_version": 0,
        "returns_taken": [],
        "shipments_lost": [],
    }


def _seen(order_id: str, order: Order | None, expected: Collection[int] | None) -> Order:
    if order is None:
        raise Unknown(f"There is no order {order_id}.")
    check_seen(f"Order {order_id}", order.version, expected)
    return order
