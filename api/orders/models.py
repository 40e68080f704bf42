"""What orders take and give over HTTP."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.web.pages import NextCursor, Page
from api.web.requests import Body, Id, Path, Time
from schemas.order import OrderStatus

_SUMMARY: dict[str, Any] = {
    "id": "01900000-0000-7000-8000-000000000001",
    "version": 2,
    "customer_id": "ada",
    "status": "confirmed",
    "currency": "USD",
    "total_minor": 300,
    "placed_at": "2026-01-31T12:00:00.000000Z",
}
_LINE: dict[str, Any] = {
    "sku": "milk",
    "name": "Milk",
    "department": "GROCERY",
    "category": "FLUID MILK PRODUCTS",
    "brand": "National",
    "quantity": 2,
    "unit_price_minor": 150,
}
_ORDER: dict[str, Any] = {
    **_SUMMARY,
    "reason": None,
    "lines": [_LINE],
    "updated_at": "2026-01-31T12:00:00.250000Z",
}


class NewLine(Body):
    """Units of one product."""

    sku: Id
    quantity: Annotated[int, Field(ge=1, le=100_000)]


class NewOrder(Body):
    """What a customer wants. What it costs is not the customer's to say."""

    model_config = ConfigDict(json_schema_extra={"example": {"customer_id": "ada", "lines": [{"sku": "milk", "quantity": 2}]}})

    customer_id: Id
    lines: Annotated[list[NewLine], Field(min_length=1, max_length=500)]


class OrderId(Path):
    """An order."""

    order_id: Annotated[UUID, Field(json_schema_extra={"example": _SUMMARY["id"]})]


class CustomerId(Path):
    """A customer."""

    customer_id: Annotated[Id, Field(json_schema_extra={"example": "ada"})]


class CustomerOrders(Page):
    """Which of a customer's orders to give."""

    status: Annotated[OrderStatus | None, Field(description="Those that have this status.")] = None
    placed_from: Annotated[
        Time | None, Field(alias="from", description="Those placed at this time or later.")
    ] = None
    placed_to: Annotated[
        Time | None, Field(alias="to", description="Those placed before this time, and not at it.")
    ] = None


class OrderLine(BaseModel):
    """Units of one product, as it was when the order was placed."""

    sku: str
    name: str
    department: str
    category: str
    brand: str
    quantity: int
    unit_price_minor: int


class OrderSummary(BaseModel):
    """An order without its lines."""

    model_config = ConfigDict(json_schema_extra={"example": _SUMMARY})

    id: str
    version: int
    customer_id: str
    status: OrderStatus
    currency: str
    total_minor: int = Field(description="In minor units of the currency.")
    placed_at: str


class Order(OrderSummary):
    """An order as it is now."""

    model_config = ConfigDict(json_schema_extra={"example": _ORDER})

    reason: str | None = Field(description="Why it was rejected, or cancelled by nobody's wish.")
    lines: list[OrderLine]
    updated_at: str


class OrderPage(BaseModel):
    """Some of a customer's orders, the newest first."""

    model_config = ConfigDict(json_schema_extra={"example": {"orders": [_SUMMARY], "next_cursor": None}})

    orders: list[OrderSummary]
    next_cursor: NextCursor
