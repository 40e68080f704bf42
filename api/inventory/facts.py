"""What the inventory takes from the events of others: just what it decides by."""

from schemas.fulfilment import FulfilmentAnsweredData
from schemas.order import OrderConfirmedData, OrderPlacedData
from schemas.returns import ReturnAcceptedData

#: Where a parcel is not in the house any more.
_GONE = frozenset({"dispatched", "overdue", "delivered", "lost"})


def placed(data: OrderPlacedData) -> dict[str, int]:
    """Of an order that was placed: the units that it wants, by sku."""
    return {line["sku"]: line["quantity"] for line in data["lines"]}


def stopped(data: OrderConfirmedData) -> dict[str, int]:
    """Of an order of which something was cancelled: all that was, by sku."""
    return {each["sku"]: each["cancelled"] for each in data["units"] if each["cancelled"]}


def gone(data: FulfilmentAnsweredData) -> dict[str, int]:
    """Of fulfilments: the units that have left the house, by sku."""
    counted: dict[str, int] = {}
    for shipment in data["shipments"]:
        if shipment["status"] in _GONE:
            for each in shipment["units"]:
                counted[each["sku"]] = counted.get(each["sku"], 0) + each["quantity"]
    return counted


def returned(data: ReturnAcceptedData) -> dict[str, dict[str, int]]:
    """Of returns: by number, the units that can be sold again, by sku."""
    return {
        str(each["number"]): {units["sku"]: units["quantity"] for units in each["units"]}
        for each in data["returns"]
        if each["status"] in ("accepted", "refunded") and each["is_restocked"]
    }
