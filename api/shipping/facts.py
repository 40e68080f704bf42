"""What shipping takes from the events of others: just what it decides by."""

from api.shipping.returns import Delivered, Taken, Wanted
from api.shipping.rules import Confirmed, Paid, State, Stop, delivered
from schemas.exchange import ExchangeReturnWantedData
from schemas.fulfilment import ShipmentUnits
from schemas.order import OrderConfirmedData
from schemas.payment import PaymentSettledData

#: What payments say of an order for which nothing was captured or declined.
NOTHING_PAID: Paid = {"captured": [], "is_declined": False}


def confirmed(data: OrderConfirmedData) -> Confirmed:
    """Of an order that was confirmed: what is to be sent."""
    units: list[ShipmentUnits] = [
        {"sku": each["sku"], "quantity": each["quantity"] - each["cancelled"], "unit_price_minor": each["unit_price_minor"]}
        for each in data["units"]
    ]
    return {"order_id": data["order_id"], "customer_id": data["customer_id"], "currency": data["currency"], "units": units}


def stop(data: OrderConfirmedData) -> Stop:
    """Of an order of which units are to be stopped."""
    assert data["cancel"] is not None
    return {"number": data["cancel"]["number"], "units": {each["sku"]: each["quantity"] for each in data["cancel"]["units"]}}


def taken(data: OrderConfirmedData) -> Taken:
    """Of an order that has taken returns in."""
    return {"versions": {str(each["number"]): each["version"] for each in data["returns_taken"]}}


def paid(data: PaymentSettledData) -> Paid:
    """Of an event of payments."""
    captured = [each["shipment"] for each in data["operations"] if each["kind"] == "capture" and each["state"] == "succeeded"]
    return {"captured": [each for each in captured if each is not None], "is_declined": data["is_declined"]}


def wanted(data: ExchangeReturnWantedData) -> Wanted:
    """Of an exchange whose units are to come back."""
    return {"exchange_id": data["exchange_id"], "units": {each["sku"]: each["quantity"] for each in data["units"]}}


def arrived(state: State) -> Delivered:
    """Of an order's parcels: what can come back."""
    prices = {each["sku"]: each["unit_price_minor"] for shipment in state["shipments"] for each in shipment["units"]}
    return Delivered(state["order_id"], state["customer_id"], state["currency"], prices, delivered(state))
