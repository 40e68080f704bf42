"""Events of payment: generated from the .avsc beside this by `python -m schemas.generate`, not to be edited."""

from datetime import datetime
from typing import Literal, TypedDict

from schemas.event import Event, Topic

OperationKind = Literal["authorize", "capture", "void", "refund"]
OperationState = Literal["asked", "unknown", "succeeded", "failed", "disputed"]
PaymentStatus = Literal["open", "authorized", "declined", "unknown", "paid", "refunded", "closed"]


class Operation(TypedDict):
    """What was asked of the provider, and what came of it."""

    number: int
    kind: OperationKind
    #: For which it was asked; once it is done, for which it was done.
    amount_minor: int
    #: For which a capture was made.
    shipment: int | None
    #: The number of the authorization that it is about.
    authorization: int | None
    state: OperationState
    #: The provider's own id of the authorization.
    reference: str | None
    #: Why not.
    code: str | None


class Case(TypedDict):
    """What needs a person."""

    kind: str
    #: Of the operation, shipment or return that it is about.
    number: int
    reason: str
    since: datetime


class AuthorizationExpiredData(TypedDict):
    """What the provider held for us is free again."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: PaymentStatus
    #: Why, where it is not plain.
    reason: str | None
    #: Of the order, the last version that changed what is due, as payments have heard.
    order_version: int
    #: As that version says.
    due_minor: int
    #: The last of these versions for which nothing was left to do.
    settled_version: int
    #: What can still be captured.
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    #: What was given back too much, as somebody has ruled.
    written_off_minor: int
    #: The provider's name for the card that is charged.
    card_token: str | None
    #: Whether that card was declined: it waits for another.
    is_declined: bool
    operations: list[Operation]
    cases: list[Case]


class CaptureFailedData(TypedDict):
    """The provider will not give what it holds."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: PaymentStatus
    #: Why, where it is not plain.
    reason: str | None
    #: Of the order, the last version that changed what is due, as payments have heard.
    order_version: int
    #: As that version says.
    due_minor: int
    #: The last of these versions for which nothing was left to do.
    settled_version: int
    #: What can still be captured.
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    #: What was given back too much, as somebody has ruled.
    written_off_minor: int
    #: The provider's name for the card that is charged.
    card_token: str | None
    #: Whether that card was declined: it waits for another.
    is_declined: bool
    operations: list[Operation]
    cases: list[Case]


class PaymentAuthorizedData(TypedDict):
    """The provider holds what is due for us; or nothing is due."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: PaymentStatus
    #: Why, where it is not plain.
    reason: str | None
    #: Of the order, the last version that changed what is due, as payments have heard.
    order_version: int
    #: As that version says.
    due_minor: int
    #: The last of these versions for which nothing was left to do.
    settled_version: int
    #: What can still be captured.
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    #: What was given back too much, as somebody has ruled.
    written_off_minor: int
    #: The provider's name for the card that is charged.
    card_token: str | None
    #: Whether that card was declined: it waits for another.
    is_declined: bool
    operations: list[Operation]
    cases: list[Case]


class PaymentCapturedData(TypedDict):
    """Money for a shipment is ours; or none was needed."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: PaymentStatus
    #: Why, where it is not plain.
    reason: str | None
    #: Of the order, the last version that changed what is due, as payments have heard.
    order_version: int
    #: As that version says.
    due_minor: int
    #: The last of these versions for which nothing was left to do.
    settled_version: int
    #: What can still be captured.
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    #: What was given back too much, as somebody has ruled.
    written_off_minor: int
    #: The provider's name for the card that is charged.
    card_token: str | None
    #: Whether that card was declined: it waits for another.
    is_declined: bool
    operations: list[Operation]
    cases: list[Case]


class PaymentCardChangedData(TypedDict):
    """The customer gave another card."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: PaymentStatus
    #: Why, where it is not plain.
    reason: str | None
    #: Of the order, the last version that changed what is due, as payments have heard.
    order_version: int
    #: As that version says.
    due_minor: int
    #: The last of these versions for which nothing was left to do.
    settled_version: int
    #: What can still be captured.
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    #: What was given back too much, as somebody has ruled.
    written_off_minor: int
    #: The provider's name for the card that is charged.
    card_token: str | None
    #: Whether that card was declined: it waits for another.
    is_declined: bool
    operations: list[Operation]
    cases: list[Case]


class PaymentDeclinedData(TypedDict):
    """The provider will not hold what is due."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: PaymentStatus
    #: Why, where it is not plain.
    reason: str | None
    #: Of the order, the last version that changed what is due, as payments have heard.
    order_version: int
    #: As that version says.
    due_minor: int
    #: The last of these versions for which nothing was left to do.
    settled_version: int
    #: What can still be captured.
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    #: What was given back too much, as somebody has ruled.
    written_off_minor: int
    #: The provider's name for the card that is charged.
    card_token: str | None
    #: Whether that card was declined: it waits for another.
    is_declined: bool
    operations: list[Operation]
    cases: list[Case]


class PaymentDisputedData(TypedDict):
    """The provider contradicts itself."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: PaymentStatus
    #: Why, where it is not plain.
    reason: str | None
    #: Of the order, the last version that changed what is due, as payments have heard.
    order_version: int
    #: As that version says.
    due_minor: int
    #: The last of these versions for which nothing was left to do.
    settled_version: int
    #: What can still be captured.
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    #: What was given back too much, as somebody has ruled.
    written_off_minor: int
    #: The provider's name for the card that is charged.
    card_token: str | None
    #: Whether that card was declined: it waits for another.
    is_declined: bool
    operations: list[Operation]
    cases: list[Case]


class PaymentRefundedData(TypedDict):
    """Money was given back."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: PaymentStatus
    #: Why, where it is not plain.
    reason: str | None
    #: Of the order, the last version that changed what is due, as payments have heard.
    order_version: int
    #: As that version says.
    due_minor: int
    #: The last of these versions for which nothing was left to do.
    settled_version: int
    #: What can still be captured.
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    #: What was given back too much, as somebody has ruled.
    written_off_minor: int
    #: The provider's name for the card that is charged.
    card_token: str | None
    #: Whether that card was declined: it waits for another.
    is_declined: bool
    operations: list[Operation]
    cases: list[Case]


class PaymentRuledData(TypedDict):
    """Somebody has ruled what has become of an operation."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: PaymentStatus
    #: Why, where it is not plain.
    reason: str | None
    #: Of the order, the last version that changed what is due, as payments have heard.
    order_version: int
    #: As that version says.
    due_minor: int
    #: The last of these versions for which nothing was left to do.
    settled_version: int
    #: What can still be captured.
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    #: What was given back too much, as somebody has ruled.
    written_off_minor: int
    #: The provider's name for the card that is charged.
    card_token: str | None
    #: Whether that card was declined: it waits for another.
    is_declined: bool
    operations: list[Operation]
    cases: list[Case]


class PaymentSettledData(TypedDict):
    """Nothing is left to do for what is due."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: PaymentStatus
    #: Why, where it is not plain.
    reason: str | None
    #: Of the order, the last version that changed what is due, as payments have heard.
    order_version: int
    #: As that version says.
    due_minor: int
    #: The last of these versions for which nothing was left to do.
    settled_version: int
    #: What can still be captured.
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    #: What was given back too much, as somebody has ruled.
    written_off_minor: int
    #: The provider's name for the card that is charged.
    card_token: str | None
    #: Whether that card was declined: it waits for another.
    is_declined: bool
    operations: list[Operation]
    cases: list[Case]


class PaymentUnknownData(TypedDict):
    """The provider did not say what has become of an operation."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: PaymentStatus
    #: Why, where it is not plain.
    reason: str | None
    #: Of the order, the last version that changed what is due, as payments have heard.
    order_version: int
    #: As that version says.
    due_minor: int
    #: The last of these versions for which nothing was left to do.
    settled_version: int
    #: What can still be captured.
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    #: What was given back too much, as somebody has ruled.
    written_off_minor: int
    #: The provider's name for the card that is charged.
    card_token: str | None
    #: Whether that card was declined: it waits for another.
    is_declined: bool
    operations: list[Operation]
    cases: list[Case]


class PaymentVoidedData(TypedDict):
    """What the provider still held is free again."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: PaymentStatus
    #: Why, where it is not plain.
    reason: str | None
    #: Of the order, the last version that changed what is due, as payments have heard.
    order_version: int
    #: As that version says.
    due_minor: int
    #: The last of these versions for which nothing was left to do.
    settled_version: int
    #: What can still be captured.
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    #: What was given back too much, as somebody has ruled.
    written_off_minor: int
    #: The provider's name for the card that is charged.
    card_token: str | None
    #: Whether that card was declined: it waits for another.
    is_declined: bool
    operations: list[Operation]
    cases: list[Case]


class RefundFailedData(TypedDict):
    """Money could not be given back."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: PaymentStatus
    #: Why, where it is not plain.
    reason: str | None
    #: Of the order, the last version that changed what is due, as payments have heard.
    order_version: int
    #: As that version says.
    due_minor: int
    #: The last of these versions for which nothing was left to do.
    settled_version: int
    #: What can still be captured.
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    #: What was given back too much, as somebody has ruled.
    written_off_minor: int
    #: The provider's name for the card that is charged.
    card_token: str | None
    #: Whether that card was declined: it waits for another.
    is_declined: bool
    operations: list[Operation]
    cases: list[Case]


class VoidFailedData(TypedDict):
    """The provider will not free what it holds."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: PaymentStatus
    #: Why, where it is not plain.
    reason: str | None
    #: Of the order, the last version that changed what is due, as payments have heard.
    order_version: int
    #: As that version says.
    due_minor: int
    #: The last of these versions for which nothing was left to do.
    settled_version: int
    #: What can still be captured.
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    #: What was given back too much, as somebody has ruled.
    written_off_minor: int
    #: The provider's name for the card that is charged.
    card_token: str | None
    #: Whether that card was declined: it waits for another.
    is_declined: bool
    operations: list[Operation]
    cases: list[Case]


AuthorizationExpired = Event[Literal["AuthorizationExpired"], AuthorizationExpiredData]
CaptureFailed = Event[Literal["CaptureFailed"], CaptureFailedData]
PaymentAuthorized = Event[Literal["PaymentAuthorized"], PaymentAuthorizedData]
PaymentCaptured = Event[Literal["PaymentCaptured"], PaymentCapturedData]
PaymentCardChanged = Event[Literal["PaymentCardChanged"], PaymentCardChangedData]
PaymentDeclined = Event[Literal["PaymentDeclined"], PaymentDeclinedData]
PaymentDisputed = Event[Literal["PaymentDisputed"], PaymentDisputedData]
PaymentRefunded = Event[Literal["PaymentRefunded"], PaymentRefundedData]
PaymentRuled = Event[Literal["PaymentRuled"], PaymentRuledData]
PaymentSettled = Event[Literal["PaymentSettled"], PaymentSettledData]
PaymentUnknown = Event[Literal["PaymentUnknown"], PaymentUnknownData]
PaymentVoided = Event[Literal["PaymentVoided"], PaymentVoidedData]
RefundFailed = Event[Literal["RefundFailed"], RefundFailedData]
VoidFailed = Event[Literal["VoidFailed"], VoidFailedData]

PaymentEvent = AuthorizationExpired | CaptureFailed | PaymentAuthorized | PaymentCaptured | PaymentCardChanged | PaymentDeclined | PaymentDisputed | PaymentRefunded | PaymentRuled | PaymentSettled | PaymentUnknown | PaymentVoided | RefundFailed | VoidFailed
PaymentEventType = Literal["AuthorizationExpired", "CaptureFailed", "PaymentAuthorized", "PaymentCaptured", "PaymentCardChanged", "PaymentDeclined", "PaymentDisputed", "PaymentRefunded", "PaymentRuled", "PaymentSettled", "PaymentUnknown", "PaymentVoided", "RefundFailed", "VoidFailed"]

TOPIC = Topic[PaymentEvent]("marea.payment")
