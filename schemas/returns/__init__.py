"""Events of returns: generated from the .avsc beside this by `python -m schemas.generate`, not to be edited."""

from datetime import datetime
from typing import Literal, TypedDict

from schemas.event import Event, Topic

ReturnStatus = Literal["requested", "approved", "rejected", "cancelled", "expired", "received", "accepted", "refunded"]


class Units(TypedDict):
    """Units of one product."""

    sku: str
    quantity: int


class Return(TypedDict):
    """Units that a customer gives back."""

    number: int
    status: ReturnStatus
    units: list[Units]
    #: What they are worth; 0 before they are inspected.
    value_minor: int
    #: Whether they can be sold again.
    is_restocked: bool
    #: The exchange for which they come back.
    exchange_id: str | None
    #: When it is over unless it has gone on.
    expires_at: datetime | None
    reason: str | None


class ReturnAcceptedData(TypedDict):
    """They were inspected, and are worth something."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    #: Why, where it is not plain.
    reason: str | None
    returns: list[Return]


class ReturnApprovedData(TypedDict):
    """They may be sent."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    #: Why, where it is not plain.
    reason: str | None
    returns: list[Return]


class ReturnCancelledData(TypedDict):
    """The customer keeps them."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    #: Why, where it is not plain.
    reason: str | None
    returns: list[Return]


class ReturnExpiredData(TypedDict):
    """They did not come in time."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    #: Why, where it is not plain.
    reason: str | None
    returns: list[Return]


class ReturnReceivedData(TypedDict):
    """They have arrived."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    #: Why, where it is not plain.
    reason: str | None
    returns: list[Return]


class ReturnRefundedData(TypedDict):
    """What they are worth is paid back."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    #: Why, where it is not plain.
    reason: str | None
    returns: list[Return]


class ReturnRejectedData(TypedDict):
    """They may not be given back, or were not fit for it."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    #: Why, where it is not plain.
    reason: str | None
    returns: list[Return]


class ReturnRequestedData(TypedDict):
    """A customer wants to give units back."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    #: Why, where it is not plain.
    reason: str | None
    returns: list[Return]


ReturnAccepted = Event[Literal["ReturnAccepted"], ReturnAcceptedData]
ReturnApproved = Event[Literal["ReturnApproved"], ReturnApprovedData]
ReturnCancelled = Event[Literal["ReturnCancelled"], ReturnCancelledData]
ReturnExpired = Event[Literal["ReturnExpired"], ReturnExpiredData]
ReturnReceived = Event[Literal["ReturnReceived"], ReturnReceivedData]
ReturnRefunded = Event[Literal["ReturnRefunded"], ReturnRefundedData]
ReturnRejected = Event[Literal["ReturnRejected"], ReturnRejectedData]
ReturnRequested = Event[Literal["ReturnRequested"], ReturnRequestedData]

ReturnsEvent = ReturnAccepted | ReturnApproved | ReturnCancelled | ReturnExpired | ReturnReceived | ReturnRefunded | ReturnRejected | ReturnRequested
ReturnsEventType = Literal["ReturnAccepted", "ReturnApproved", "ReturnCancelled", "ReturnExpired", "ReturnReceived", "ReturnRefunded", "ReturnRejected", "ReturnRequested"]

TOPIC = Topic[ReturnsEvent]("marea.returns")
