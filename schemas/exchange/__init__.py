"""Events of exchange: generated from the .avsc beside this by `python -m schemas.generate`, not to be edited."""

from typing import Literal, TypedDict

from schemas.event import Event, Topic

ExchangeStep = Literal["reserving", "returning", "crediting", "finished", "failed"]


class Units(TypedDict):
    """Units of one product."""

    sku: str
    quantity: int


class CreditDecidedData(TypedDict):
    """What came back is worth something: so much of it pays for the new order."""

    exchange_id: str
    #: The order of which units come back.
    order_id: str
    #: The order that is placed for them.
    new_order_id: str
    customer_id: str
    step: ExchangeStep
    #: Why, where it is not plain.
    reason: str | None
    units: list[Units]
    return_number: int | None
    #: What came back is worth.
    value_minor: int
    #: What of that pays for the new order.
    credit_minor: int


class ExchangeFailedData(TypedDict):
    """There is no exchange: what came back is refunded, and the new order undone."""

    exchange_id: str
    #: The order of which units come back.
    order_id: str
    #: The order that is placed for them.
    new_order_id: str
    customer_id: str
    step: ExchangeStep
    #: Why, where it is not plain.
    reason: str | None
    units: list[Units]
    return_number: int | None
    #: What came back is worth.
    value_minor: int
    #: What of that pays for the new order.
    credit_minor: int


class ExchangeFinishedData(TypedDict):
    """The new order goes on as any order."""

    exchange_id: str
    #: The order of which units come back.
    order_id: str
    #: The order that is placed for them.
    new_order_id: str
    customer_id: str
    step: ExchangeStep
    #: Why, where it is not plain.
    reason: str | None
    units: list[Units]
    return_number: int | None
    #: What came back is worth.
    value_minor: int
    #: What of that pays for the new order.
    credit_minor: int


class ExchangeRequestedData(TypedDict):
    """Units of one order are to be exchanged for another order."""

    exchange_id: str
    #: The order of which units come back.
    order_id: str
    #: The order that is placed for them.
    new_order_id: str
    customer_id: str
    step: ExchangeStep
    #: Why, where it is not plain.
    reason: str | None
    units: list[Units]
    return_number: int | None
    #: What came back is worth.
    value_minor: int
    #: What of that pays for the new order.
    credit_minor: int


class ExchangeReturnWantedData(TypedDict):
    """The new order is reserved: now the units are to come back."""

    exchange_id: str
    #: The order of which units come back.
    order_id: str
    #: The order that is placed for them.
    new_order_id: str
    customer_id: str
    step: ExchangeStep
    #: Why, where it is not plain.
    reason: str | None
    units: list[Units]
    return_number: int | None
    #: What came back is worth.
    value_minor: int
    #: What of that pays for the new order.
    credit_minor: int


CreditDecided = Event[Literal["CreditDecided"], CreditDecidedData]
ExchangeFailed = Event[Literal["ExchangeFailed"], ExchangeFailedData]
ExchangeFinished = Event[Literal["ExchangeFinished"], ExchangeFinishedData]
ExchangeRequested = Event[Literal["ExchangeRequested"], ExchangeRequestedData]
ExchangeReturnWanted = Event[Literal["ExchangeReturnWanted"], ExchangeReturnWantedData]

ExchangeEvent = CreditDecided | ExchangeFailed | ExchangeFinished | ExchangeRequested | ExchangeReturnWanted
ExchangeEventType = Literal["CreditDecided", "ExchangeFailed", "ExchangeFinished", "ExchangeRequested", "ExchangeReturnWanted"]

TOPIC = Topic[ExchangeEvent]("marea.exchange")
