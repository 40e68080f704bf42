"""Events of stock: generated from the .avsc beside this by `python -m schemas.generate`, not to be edited."""

from typing import Literal, TypedDict

from schemas.event import Event, Topic


class StockAdjustedData(TypedDict):
    """A count corrected what is on hand."""

    #: Stock keeping unit: the stock item's id.
    sku: str
    #: Units added; negative when units are missing.
    quantity: int
    reason: str
    #: Units in the warehouse after this event.
    on_hand: int
    #: Of these, units promised to orders, after this event.
    reserved: int


class StockReceivedData(TypedDict):
    """Units arrived in the warehouse."""

    #: Stock keeping unit: the stock item's id.
    sku: str
    #: Units that arrived.
    quantity: int
    #: Units in the warehouse after this event.
    on_hand: int
    #: Of these, units promised to orders, after this event.
    reserved: int


class StockReleasedData(TypedDict):
    """Units promised to an order are free again."""

    #: Stock keeping unit: the stock item's id.
    sku: str
    order_id: str
    #: Units freed.
    quantity: int
    #: Units in the warehouse after this event.
    on_hand: int
    #: Of these, units promised to orders, after this event.
    reserved: int


class StockReservedData(TypedDict):
    """Units were promised to an order."""

    #: Stock keeping unit: the stock item's id.
    sku: str
    order_id: str
    #: Units promised.
    quantity: int
    #: Units in the warehouse after this event.
    on_hand: int
    #: Of these, units promised to orders, after this event.
    reserved: int


class StockShippedData(TypedDict):
    """Units of an order left the house."""

    #: Stock keeping unit: the stock item's id.
    sku: str
    order_id: str
    #: Units that left.
    quantity: int
    #: Units in the warehouse after this event.
    on_hand: int
    #: Of these, units promised to orders, after this event.
    reserved: int


StockAdjusted = Event[Literal["StockAdjusted"], StockAdjustedData]
StockReceived = Event[Literal["StockReceived"], StockReceivedData]
StockReleased = Event[Literal["StockReleased"], StockReleasedData]
StockReserved = Event[Literal["StockReserved"], StockReservedData]
StockShipped = Event[Literal["StockShipped"], StockShippedData]

StockEvent = StockAdjusted | StockReceived | StockReleased | StockReserved | StockShipped
StockEventType = Literal["StockAdjusted", "StockReceived", "StockReleased", "StockReserved", "StockShipped"]

TOPIC = Topic[StockEvent]("marea.stock")
