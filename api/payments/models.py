"""What payments take and give over HTTP."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.web.requests import Body, Path, Text
from api.web.shown import Case, Step
from schemas.payment import OperationKind, OperationState, PaymentStatus

_ORDER_ID = "01900000-0000-7000-8000-000000000001"
_OPERATION: dict[str, Any] = {
    "number": 1,
    "kind": "authorize",
    "amount_minor": 300,
    "shipment": None,
    "authorization": None,
    "state": "succeeded",
    "reference": "auth_1",
    "code": None,
}
_PAYMENT: dict[str, Any] = {
    "order_id": _ORDER_ID,
    "version": 1,
    "customer_id": "ada",
    "currency": "USD",
    "status": "authorized",
    "reason": None,
    "order_version": 2,
    "due_minor": 300,
    "settled_version": 2,
    "authorized_minor": 300,
    "captured_minor": 0,
    "refunded_minor": 0,
    "written_off_minor": 0,
    "is_declined": False,
    "operations": [_OPERATION],
    "cases": [],
    "steps": [{"type": "PaymentAuthorized", "at": "2026-01-31T12:00:00.250000Z", "reason": None}],
    "updated_at": "2026-01-31T12:00:00.250000Z",
}


class OrderId(Path):
    """The payment of an order."""

    order_id: Annotated[UUID, Field(json_schema_extra={"example": _ORDER_ID})]


class OperationOf(OrderId):
    """An operation of a payment, by its number."""

    number: Annotated[int, Field(ge=1, le=1_000_000, json_schema_extra={"example": 3})]


class NewCard(Body):
    """The provider's name for another card."""

    model_config = ConfigDict(json_schema_extra={"example": {"card_token": "tok_visa"}})

    card_token: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


class PaymentRuling(Body):
    """What became of an operation, as somebody has found out."""

    model_config = ConfigDict(json_schema_extra={"example": {"outcome": "succeeded", "reason": "it is on the bank's statement"}})

    outcome: Literal["succeeded", "failed"]
    reason: Annotated[Text, Field(min_length=1)]


class Retry(Body):
    """Why the provider is to be asked again."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "the provider is back"}})

    reason: Annotated[Text, Field(min_length=1)]


class Operation(BaseModel):
    """What was asked of the provider, and what came of it."""

    model_config = ConfigDict(json_schema_extra={"example": _OPERATION})

    number: int
    kind: OperationKind
    amount_minor: int
    shipment: int | None
    authorization: int | None
    state: OperationState
    reference: str | None
    code: str | None


class Payment(BaseModel):
    """A payment as it is now; amounts in minor units of the currency."""

    model_config = ConfigDict(json_schema_extra={"example": _PAYMENT})

    order_id: str
    version: int
    customer_id: str
    currency: str
    status: PaymentStatus
    reason: str | None
    order_version: int = Field(description="The order's version that changed what is due last, as payments know it.")
    due_minor: int
    settled_version: int = Field(description="The last of these versions for which nothing was left to do.")
    authorized_minor: int
    captured_minor: int
    refunded_minor: int
    written_off_minor: int
    is_declined: bool
    operations: list[Operation]
    cases: list[Case]
    steps: list[Step]
    updated_at: str
