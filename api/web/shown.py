"""What several services show in the same way."""

from typing import Any

from pydantic import BaseModel, ConfigDict

_AT = "2026-01-31T12:00:00.250000Z"
_STEP: dict[str, Any] = {"type": "OrderPlaced", "at": _AT, "reason": None}
_CASE: dict[str, Any] = {"kind": "refund failed", "number": 3, "reason": "it failed 5 times", "since": _AT}


class Step(BaseModel):
    """What happened, when, and why, where that is not plain."""

    model_config = ConfigDict(json_schema_extra={"example": _STEP})

    type: str
    at: str
    reason: str | None


class Case(BaseModel):
    """What needs a person: `number` is that of the operation, the shipment or the return."""

    model_config = ConfigDict(json_schema_extra={"example": _CASE})

    kind: str
    number: int
    reason: str
    since: str


class Units(BaseModel):
    """Units of one product."""

    sku: str
    quantity: int
