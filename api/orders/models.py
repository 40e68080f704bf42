"""What orders take and give over HTTP."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from api.web.requests import Body, Id, Path, Query
from schemas.order import OrderStatus


class NewLine(Body):
    """Units of one product."""

    sku: Id
    quantity: Annotated[int, Field(ge=1, le=100_000)]


class NewOrder(Body):
    """What a customer wants. What it costs is not the customer's to say."""

    customer_id: Id
    lines: Annotated[list[NewLine], Field(min_length=1, max_length=500)]


class OrderId(Path):
    """An order."""

    order_id: UUID


class CustomerId(Path):
    """A customer."""

    customer_id: Id


class Page(Query):
    """Which of many orders to give."""

    limit: Annotated[int, Field(ge=1, le=1_000)] = 50
    cursor: Annotated[str | None, Field(max_length=200, description="next_cursor of the page before.")] = None


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

    id: str
    version: int
    status: OrderStatus
    currency: str
    total_minor: int = Field(description="In minor units of the currency.")
    placed_at: str


class Order(OrderSummary):
    """An order as it is now."""

    customer_id: str
    reason: str | None = Field(description="Why it was rejected.")
    lines: list[OrderLine]
    updated_at: str


class OrderPage(BaseModel):
    """Some of a customer's orders, the newest first."""

    orders: list[OrderSummary]
    next_cursor: str | None
