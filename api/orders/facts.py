"""What orders take from the events of others: just what they decide by."""

from api.orders.exchanges import CameBack, NewOrder
from api.orders.rules import Accepted, Paid, Reserved, Sent, State
from schemas.fulfilment import FulfilmentAnsweredData, Shipment
from schemas.payment import PaymentSettledData
from schemas.reservation import ReservationMadeData
from schemas.returns import ReturnAcceptedData

#: What shipping says of an order of which nothing has been stopped, held, delivered or lost.
NOTHING_SENT: Sent = {"answered": 0, "stopped": {}, "held": {}, "delivered": 0, "lost": {}}


def of_reservation(data: ReservationMadeData) -> Reserved:
    """Of an event of reservations."""
    is_refused = data["status"] == "refused"
    return {"is_refused": is_refused, "order_version": data["order_version"], "reason": data["reason"] if is_refused else None}


def of_payment(data: PaymentSettledData) -> Paid:
    """Of an event of payments. An authorization that has expired was none."""
    operations = [each for each in data["operations"] if each["state"] == "succeeded"]
    voided = {each["authorization"] for each in operations if each["kind"] == "void"}
    authorized = [each for each in operations if each["kind"] == "authorize" and each["number"] not in voided]
    return {
        "authorized_minor": authorized[-1]["amount_minor"] if authorized else None,
        "is_declined": data["is_declined"],
        "reason": data["reason"] if data["is_declined"] else None,
        "order_version": data["order_version"],
        "settled_version": data["settled_version"],
        "paid_minor": data["captured_minor"] - data["refunded_minor"] + data["written_off_minor"],
    }


def of_fulfilment(data: FulfilmentAnsweredData) -> Sent:
    """Of an event of fulfilments."""
    answered = data["answered"]
    held: dict[str, int] = {}
    for each in data["shipments"]:
        if each["status"] == "held":
            held |= {sku: held.get(sku, 0) + quantity for sku, quantity in _units(each).items()}
    return {
        "answered": answered["number"] if answered else 0,
        "stopped": {each["sku"]: each["quantity"] for each in answered["stopped"]} if answered else {},
        "held": held,
        "delivered": sum(sum(_units(each).values()) for each in data["shipments"] if each["status"] == "delivered"),
        "lost": {str(each["number"]): _units(each) for each in data["shipments"] if each["status"] == "lost"},
    }


def of_returns(data: ReturnAcceptedData) -> list[Accepted]:
    """Of an event of returns."""
    return [
        {"number": each["number"], "value_minor": each["value_minor"], "exchange_id": each["exchange_id"]}
        for each in data["returns"]
        if each["status"] in ("accepted", "refunded")
    ]


def of_new_order(data: State) -> NewOrder:
    """Of an event of the order that was placed for an exchange."""
    return {"status": data["status"], "total_minor": data["total_minor"], "reason": data["reason"]}


def came_back(data: ReturnAcceptedData) -> dict[str, CameBack]:
    """Of an event of returns: by exchange."""
    return {
        each["exchange_id"]: {
            "number": each["number"],
            "status": each["status"],
            "value_minor": each["value_minor"],
            "reason": each["reason"],
        }
        for each in data["returns"]
        if each["exchange_id"]
    }


def _units(shipment: Shipment) -> dict[str, int]:
    return {each["sku"]: each["quantity"] for each in shipment["units"]}
