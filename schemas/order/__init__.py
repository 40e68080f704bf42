"""Events of order: generated from the .avsc beside this by `python -m schemas.generate`, not to be edited."""

from datetime import datetime
from typing import Literal, TypedDict

from schemas.event import Event, Topic


class OrderCancelledData(TypedDict):
    """The customer took the order back, or it was not answered in time."""

    order_id: str
    customer_id: str
    placed_at: datetime
    #: ISO 4217 code.
    currency: str
    #: Sum of the lines in minor units.
    total_minor: int
    line_count: int
    #: Why, unless the customer asked.
    reason: str | None


class OrderConfirmedData(TypedDict):
    """Stock is reserved for every line."""

    order_id: str
    customer_id: str
    placed_at: datetime
    #: ISO 4217 code.
    currency: str
    #: Sum of the lines in minor units.
    total_minor: int
    line_count: int


class OrderLine(TypedDict):
    """Units of one product, as it was when the order was placed."""

    sku: str
    name: str
    department: str
    category: str
    brand: str
    quantity: int
    unit_price_minor: int


class OrderPlacedData(TypedDict):
    """A customer placed an order; prices and descriptions as they were then."""

    order_id: str
    customer_id: str
    placed_at: datetime
    #: ISO 4217 code.
    currency: str
    #: Sum of the lines in minor units.
    total_minor: int
    lines: list[OrderLine]


class OrderRejectedData(TypedDict):
    """The order can't be served."""

    order_id: str
    customer_id: str
    placed_at: datetime
    #: ISO 4217 code.
    currency: str
    #: Sum of the lines in minor units.
    total_minor: int
    line_count: int
    reason: str


OrderCancelled = Event[Literal["OrderCancelled"], OrderCancelledData]
OrderConfirmed = Event[Literal["OrderConfirmed"], OrderConfirmedData]
OrderPlaced = Event[Literal["OrderPlaced"], OrderPlacedData]
OrderRejected = Event[Literal["OrderRejected"], OrderRejectedData]

OrderEvent = OrderCancelled | OrderConfirmed | OrderPlaced | OrderRejected
OrderEventType = Literal["OrderCancelled", "OrderConfirmed", "OrderPlaced", "OrderRejected"]

TOPIC = Topic[OrderEvent]("marea.order")

OrderStatus = Literal["cancelled", "confirmed", "placed", "rejected"]

STATUS: dict[OrderEventType, OrderStatus] = {
    "OrderCancelled": "cancelled",
    "OrderConfirmed": "confirmed",
    "OrderPlaced": "placed",
    "OrderRejected": "rejected",
}
