"""What payments take from the events of others: just what they decide by."""

from api.payments.rules import Sent, Wanted
from schemas.fulfilment import FulfilmentAnsweredData
from schemas.order import OrderConfirmedData

_PACKED = frozenset({"packed", "held", "ready"})
_IN_HOUSE = frozenset({"planned", *_PACKED})


def of_order(data: OrderConfirmedData, version: int) -> Wanted:
    """Of an event of orders, which is at `version`."""
    return {
        "order_id": data["order_id"],
        "customer_id": data["customer_id"],
        "currency": data["currency"],
        "status": data["status"],
        "order_version": version,
        "due_minor": data["due_minor"],
        "card_token": data["card_token"],
        "may_authorize": data["exchange_id"] is None or data["is_credited"],
        "cancel_number": data["cancel"]["number"] if data["cancel"] else 0,
    }


def of_fulfilment(data: FulfilmentAnsweredData) -> Sent:
    """Of an event of fulfilments."""
    statuses = {each["status"] for each in data["shipments"]}
    return {
        "packed": {str(each["number"]): each["amount_minor"] for each in data["shipments"] if each["status"] in _PACKED},
        "all_gone": not statuses & _IN_HOUSE and statuses != {"cancelled"},
        "answered": data["answered"]["number"] if data["answered"] else 0,
    }
