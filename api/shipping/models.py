"""What shipping takes and gives over HTTP."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.web.lines import NewLines
from api.web.requests import Body, Path, Text
from api.web.shown import Case, Step, Units
from kernel.limits import MAX_NUMBER
from schemas.fulfilment import FulfilmentStatus, ShipmentStatus
from schemas.returns import ReturnStatus

_ORDER_ID = "01900000-0000-7000-8000-000000000001"
_AT = "2026-01-31T12:00:00.250000Z"
_SHIPMENT: dict[str, Any] = {
    "number": 1,
    "status": "dispatched",
    "units": [{"sku": "milk", "quantity": 2, "unit_price_minor": 150}],
    "amount_minor": 300,
    "tracking": "C1000001",
    "days": 3,
    "expected_by": _AT,
    "is_contradicted": False,
}
_STEP: dict[str, Any] = {"type": "ShipmentsPlanned", "at": _AT, "reason": None}
_FULFILMENT: dict[str, Any] = {
    "order_id": _ORDER_ID,
    "version": 5,
    "customer_id": "ada",
    "currency": "USD",
    "status": "shipped",
    "reason": None,
    "shipments": [_SHIPMENT],
    "answered": None,
    "cases": [],
    "steps": [_STEP],
    "updated_at": _AT,
}
_RETURN: dict[str, Any] = {
    "number": 1,
    "status": "requested",
    "units": [{"sku": "milk", "quantity": 1}],
    "value_minor": 0,
    "is_restocked": False,
    "exchange_id": None,
    "expires_at": _AT,
    "reason": None,
}
_RETURNS: dict[str, Any] = {
    "order_id": _ORDER_ID,
    "version": 1,
    "customer_id": "ada",
    "currency": "USD",
    "reason": None,
    "returns": [_RETURN],
    "steps": [{**_STEP, "type": "ReturnRequested"}],
    "updated_at": _AT,
}


class OrderId(Path):
    """An order."""

    order_id: Annotated[UUID, Field(json_schema_extra={"example": _ORDER_ID})]


class ShipmentOf(OrderId):
    """A parcel of an order, by its number."""

    number: Annotated[int, Field(ge=1, le=1_000, json_schema_extra={"example": 1})]


class ReturnOf(OrderId):
    """A return of an order, by its number."""

    number: Annotated[int, Field(ge=1, le=100_000, json_schema_extra={"example": 1})]


class NewReturn(Body):
    """Units that a customer wants to give back."""

    model_config = ConfigDict(json_schema_extra={"example": {"lines": [{"sku": "milk", "quantity": 1}]}})

    lines: NewLines


class ParcelRuling(Body):
    """Where a parcel is, as somebody has found out."""

    model_config = ConfigDict(json_schema_extra={"example": {"outcome": "delivered", "reason": "the customer has it"}})

    outcome: Literal["delivered", "lost"]
    reason: Annotated[Text, Field(min_length=1)]


class Rejection(Body):
    """Why units may not come back."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "it was opened"}})

    reason: Annotated[Text, Field(min_length=1)]


class Inspection(Body):
    """What units that came back are worth: what they cost, unless it is said; and whether they can be sold again."""

    model_config = ConfigDict(json_schema_extra={"example": {"value_minor": 150, "restock": True}})

    value_minor: Annotated[int | None, Field(ge=0, le=MAX_NUMBER)] = None
    restock: bool


class ShipmentUnits(BaseModel):
    """Units of one product in a parcel."""

    sku: str
    quantity: int
    unit_price_minor: int


class Shipment(BaseModel):
    """A parcel."""

    model_config = ConfigDict(json_schema_extra={"example": _SHIPMENT})

    number: int
    status: ShipmentStatus
    units: list[ShipmentUnits]
    amount_minor: int
    tracking: str | None = Field(description="The carrier's number.")
    days: int | None = Field(description="That it takes, as the carrier says.")
    expected_by: str | None
    is_contradicted: bool = Field(description="Whether the carrier has said otherwise since.")


class Answer(BaseModel):
    """What became of the last request to stop units."""

    number: int
    stopped: list[Units]


class Fulfilment(BaseModel):
    """An order's parcels as they are now."""

    model_config = ConfigDict(json_schema_extra={"example": _FULFILMENT})

    order_id: str
    version: int
    customer_id: str
    currency: str
    status: FulfilmentStatus
    reason: str | None
    shipments: list[Shipment]
    answered: Answer | None
    cases: list[Case]
    steps: list[Step]
    updated_at: str


class Return(BaseModel):
    """Units that come back."""

    model_config = ConfigDict(json_schema_extra={"example": _RETURN})

    number: int
    status: ReturnStatus
    units: list[Units]
    value_minor: int
    is_restocked: bool
    exchange_id: str | None
    expires_at: str | None
    reason: str | None


class Returns(BaseModel):
    """An order's returns as they are now."""

    model_config = ConfigDict(json_schema_extra={"example": _RETURNS})

    order_id: str
    version: int
    customer_id: str
    currency: str
    reason: str | None
    returns: list[Return]
    steps: list[Step]
    updated_at: str
