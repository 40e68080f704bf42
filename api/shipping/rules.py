"""What becomes of an order's parcels, from the plan to the customer's door.

The transitions are those of the table "Fulfilment" in docs/sagas.md.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, TypedDict, cast

from kernel.context import Context
from kernel.refusals import Conflict, Unknown
from schemas.event import Event
from schemas.fulfilment import (
    Case,
    FulfilmentAnsweredData,
    FulfilmentEvent,
    FulfilmentEventType,
    FulfilmentStatus,
    Shipment,
    ShipmentStatus,
    ShipmentUnits,
)

#: What a fulfilment is: what each of its events says.
State = FulfilmentAnsweredData

#: A parcel's lines, at most.
MOST_LINES = 10
#: For how long more than the carrier says a parcel may be under way.
GRACE = timedelta(days=2)

#: Where a parcel still is in the house, and where it is not.
IN_HOUSE: frozenset[ShipmentStatus] = frozenset({"planned", "packed", "held", "ready"})
PACKED: frozenset[ShipmentStatus] = frozenset({"packed", "held", "ready"})
GONE: frozenset[ShipmentStatus] = frozenset({"dispatched", "overdue", "delivered", "lost"})
_UNDER_WAY: frozenset[ShipmentStatus] = frozenset({"dispatched", "overdue"})


class Confirmed(TypedDict):
    """The order, as it was confirmed: units of each product and what one costs."""

    order_id: str
    customer_id: str
    currency: str
    units: list[ShipmentUnits]


class Stop(TypedDict):
    """The order's last request to stop units, by sku."""

    number: int
    units: dict[str, int]


class Paid(TypedDict):
    """What payments have said last: the parcels for which they have captured, and whether they wait for another card."""

    captured: list[int]
    is_declined: bool


class Facts(TypedDict, total=False):
    """The newest that others have said."""

    confirmed: Confirmed
    stop: Stop
    payment: Paid


class Fulfilment(NamedTuple):
    """A fulfilment as it is now. Version 0: nothing is planned yet."""

    order_id: str
    version: int
    state: State | None
    facts: Facts


def run(fulfilment: Fulfilment, context: Context) -> list[FulfilmentEvent]:
    """All that follows from the facts, in order."""
    events: list[FulfilmentEvent] = []
    while event := decide(fulfilment, context):
        events.append(event)
        fulfilment = evolve(fulfilment, event)
    return events


def evolve(fulfilment: Fulfilment, event: FulfilmentEvent) -> Fulfilment:
    """The fulfilment after an event of its own."""
    return fulfilment._replace(version=event.version, state=event.data)


def decide(fulfilment: Fulfilment, context: Context) -> FulfilmentEvent | None:
    """What the facts mean for the parcels now."""
    state, facts = fulfilment.state, fulfilment.facts
    if state is None:
        return _plan(fulfilment, facts["confirmed"], context) if "confirmed" in facts else None
    return _answer(fulfilment, state, context) or _settle(fulfilment, state, context)


def pack(order_id: str, fulfilment: Fulfilment | None, number: int, context: Context) -> FulfilmentEvent:
    """A planned parcel is packed."""
    found, state, shipment = _seen(order_id, fulfilment, number)
    _check(shipment, {"planned"}, "packed")
    return _changed(found, state, shipment | {"status": "packed"}, "ShipmentPacked", None, context)


def label(fulfilment: Fulfilment, number: int, tracking: str, days: int, context: Context) -> FulfilmentEvent | None:
    """The carrier gave a parcel a number, and says how many days it takes; None when the parcel is not there any more."""
    assert fulfilment.state is not None
    shipment = _shipment(fulfilment.state, number)
    if shipment["status"] != "ready" or shipment["tracking"]:
        return None
    return _changed(fulfilment, fulfilment.state, shipment | {"tracking": tracking, "days": days}, "ShipmentLabelled", None, context)


def dispatch(order_id: str, fulfilment: Fulfilment | None, number: int, context: Context) -> FulfilmentEvent:
    """A parcel that is paid for is handed to the carrier."""
    found, state, shipment = _seen(order_id, fulfilment, number)
    _check(shipment, {"ready"}, "handed over")
    if shipment["tracking"] is None:
        raise Conflict(f"Shipment {number} of order {order_id} has no label of the carrier yet: try again.")
    expected_by = context.now + timedelta(days=shipment["days"] or 0) + GRACE
    return _changed(found, state, shipment | {"status": "dispatched", "expected_by": expected_by}, "ShipmentDispatched", None, context)


def scan(
    fulfilment: Fulfilment, number: int, what: Literal["delivered", "lost"], context: Context
) -> FulfilmentEvent | None:
    """The carrier says where a parcel is; None when that is known. Otherwise than before, it is a case."""
    assert fulfilment.state is not None
    shipment = _shipment(fulfilment.state, number)
    if shipment["status"] in _UNDER_WAY:
        return _arrived(fulfilment, fulfilment.state, shipment, what, None, context)
    if shipment["status"] == what or shipment["is_contradicted"]:
        return None
    reason = f"the carrier says {what}, and it was {shipment['status']}"
    contradicted = shipment | {"is_contradicted": True}
    return _changed(fulfilment, fulfilment.state, contradicted, "ShipmentContradicted", reason, context)


def find_overdue(fulfilment: Fulfilment, context: Context) -> FulfilmentEvent | None:
    """A parcel that should have arrived, if there is one: a case."""
    assert fulfilment.state is not None
    for shipment in fulfilment.state["shipments"]:
        if shipment["status"] == "dispatched" and shipment["expected_by"] and shipment["expected_by"] <= context.now:
            return _changed(fulfilment, fulfilment.state, shipment | {"status": "overdue"}, "ShipmentOverdue", None, context)
    return None


def rule(
    order_id: str,
    fulfilment: Fulfilment | None,
    number: int,
    outcome: Literal["delivered", "lost"],
    reason: str,
    context: Context,
) -> FulfilmentEvent:
    """Somebody has found out where a parcel is. Of one that was delivered or lost before, stock and money stay as decided."""
    found, state, shipment = _seen(order_id, fulfilment, number)
    if shipment["status"] in _UNDER_WAY:
        return _arrived(found, state, shipment, outcome, reason, context)
    if shipment["is_contradicted"]:
        return _changed(found, state, shipment | {"is_contradicted": False}, "ShipmentRuled", reason, context)
    raise Conflict(f"Shipment {number} of order {order_id} needs nobody.")


def expected_next(state: State) -> datetime | None:
    """When the next parcel should have arrived that is under way."""
    expected = [each["expected_by"] for each in state["shipments"] if each["status"] == "dispatched"]
    return min((each for each in expected if each), default=None)


def delivered(state: State) -> dict[str, int]:
    """Units that have arrived, by sku."""
    return _count(each for each in state["shipments"] if each["status"] == "delivered")


def gone(state: State) -> dict[str, int]:
    """Units that have left the house, by sku."""
    return _count(each for each in state["shipments"] if each["status"] in GONE)


def _plan(fulfilment: Fulfilment, order: Confirmed, context: Context) -> FulfilmentEvent:
    units = [each for each in order["units"] if each["quantity"]]
    parts = [units[start : start + MOST_LINES] for start in range(0, len(units), MOST_LINES)]
    state: State = {
        "order_id": order["order_id"],
        "customer_id": order["customer_id"],
        "currency": order["currency"],
        "status": "open",
        "reason": None,
        "shipments": [_planned(number, part) for number, part in enumerate(parts, 1)],
        "answered": None,
        "cases": [],
    }
    return _event(fulfilment, state, "ShipmentsPlanned", None, context)


def _planned(number: int, units: list[ShipmentUnits]) -> Shipment:
    return {
        "number": number,
        "status": "planned",
        "units": units,
        "amount_minor": _amount(units),
        "tracking": None,
        "days": None,
        "expected_by": None,
        "is_contradicted": False,
    }


def _answer(fulfilment: Fulfilment, state: State, context: Context) -> FulfilmentEvent | None:
    """Stops what has not left the house, what is furthest from leaving first, and says what that was."""
    stop = fulfilment.facts.get("stop")
    if stop is None or (state["answered"] and state["answered"]["number"] >= stop["number"]):
        return None
    wanted = dict(stop["units"])
    shipments = {each["number"]: each for each in state["shipments"]}
    order: Sequence[ShipmentStatus] = ("planned", "packed", "held", "ready")
    in_house = [each for each in state["shipments"] if each["status"] in IN_HOUSE]
    for shipment in sorted(in_house, key=lambda each: (order.index(each["status"]), -each["number"])):
        shipments[shipment["number"]] = _without(shipment, wanted)
    stopped = {sku: quantity - wanted[sku] for sku, quantity in stop["units"].items() if quantity > wanted[sku]}
    answer = {"number": stop["number"], "stopped": [{"sku": sku, "quantity": quantity} for sku, quantity in stopped.items()]}
    changed = cast("State", {**state, "shipments": list(shipments.values()), "answered": answer})
    return _event(fulfilment, changed, "FulfilmentAnswered", None, context)


def _without(shipment: Shipment, wanted: dict[str, int]) -> Shipment:
    """The parcel without what is wanted of it, which is then not wanted any more."""
    units: list[ShipmentUnits] = []
    for each in shipment["units"]:
        taken = min(each["quantity"], wanted.get(each["sku"], 0))
        if taken:
            wanted[each["sku"]] -= taken
        if each["quantity"] > taken:
            units.append({**each, "quantity": each["quantity"] - taken})
    if not units:
        return {**shipment, "status": "cancelled", "units": [], "amount_minor": 0}
    return {**shipment, "units": units, "amount_minor": _amount(units)}


def _settle(fulfilment: Fulfilment, state: State, context: Context) -> FulfilmentEvent | None:
    """Packed parcels go when they are paid for, and stay when they can't be."""
    payment = fulfilment.facts.get("payment")
    if payment is None:
        return None
    for shipment in state["shipments"]:
        if shipment["status"] in ("packed", "held") and shipment["number"] in payment["captured"]:
            return _changed(fulfilment, state, shipment | {"status": "ready"}, "ShipmentReady", None, context)
        if shipment["status"] == "packed" and payment["is_declined"]:
            reason = "it is not paid for"
            return _changed(fulfilment, state, shipment | {"status": "held"}, "ShipmentHeld", reason, context)
    return None


def _arrived(
    fulfilment: Fulfilment, state: State, shipment: Shipment, what: Literal["delivered", "lost"], reason: str | None, context: Context
) -> FulfilmentEvent:
    type_: FulfilmentEventType = "ShipmentDelivered" if what == "delivered" else "ShipmentLost"
    return _changed(fulfilment, state, shipment | {"status": what}, type_, reason, context)


def _changed(
    fulfilment: Fulfilment, state: State, shipment: Shipment, type_: FulfilmentEventType, reason: str | None, context: Context
) -> FulfilmentEvent:
    shipments = [shipment if each["number"] == shipment["number"] else each for each in state["shipments"]]
    return _event(fulfilment, {**state, "shipments": shipments}, type_, reason, context)


def _event(
    fulfilment: Fulfilment, state: State, type_: FulfilmentEventType, reason: str | None, context: Context
) -> FulfilmentEvent:
    found: State = {**state, "reason": reason, "status": _status(state["shipments"]), "cases": _cases(state, context)}
    event: Event[Any, Any] = context.event(type_, fulfilment.order_id, fulfilment.version + 1, found)
    return event


def _status(shipments: Collection[Shipment]) -> FulfilmentStatus:
    statuses = {each["status"] for each in shipments}
    if statuses & IN_HOUSE:
        return "open"
    return "shipped" if statuses & _UNDER_WAY else "finished"


_CASES: Mapping[str, str] = {"held": "it is packed and not paid for", "overdue": "it should have arrived"}


def _cases(state: State, context: Context) -> list[Case]:
    since = {(each["kind"], each["number"]): each["since"] for each in state["cases"]}
    needs: list[tuple[str, int, str]] = [
        (each["status"], each["number"], _CASES[each["status"]]) for each in state["shipments"] if each["status"] in _CASES
    ]
    needs += [
        ("contradicted", each["number"], "the carrier says otherwise than before")
        for each in state["shipments"]
        if each["is_contradicted"]
    ]
    return [
        {"kind": kind, "number": number, "reason": reason, "since": since.get((kind, number), context.now)}
        for kind, number, reason in needs
    ]


def _seen(order_id: str, fulfilment: Fulfilment | None, number: int) -> tuple[Fulfilment, State, Shipment]:
    if fulfilment is None or fulfilment.state is None:
        raise Unknown(f"Nothing is planned for order {order_id}.")
    if number not in {each["number"] for each in fulfilment.state["shipments"]}:
        raise Unknown(f"Order {order_id} has no shipment {number}.")
    return fulfilment, fulfilment.state, _shipment(fulfilment.state, number)


def _shipment(state: State, number: int) -> Shipment:
    [found] = [each for each in state["shipments"] if each["number"] == number]
    return found


def _check(shipment: Shipment, statuses: Collection[ShipmentStatus], what: str) -> None:
    if shipment["status"] not in statuses:
        raise Conflict(f"Shipment {shipment['number']} is {shipment['status']}: it can't be {what}.")


def _amount(units: Collection[ShipmentUnits]) -> int:
    return sum(each["quantity"] * each["unit_price_minor"] for each in units)


def _count(shipments: Any) -> dict[str, int]:
    counted: dict[str, int] = {}
    for shipment in shipments:
        for each in shipment["units"]:
            counted[each["sku"]] = counted.get(each["sku"], 0) + each["quantity"]
    return counted
