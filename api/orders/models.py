"""What orders take and give over HTTP."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.web.lines import NewLines
from api.web.pages import NextCursor, Page
from api.web.requests import Body, Id, Path, Query, Text, Time
from api.web.shown import Step, Units
from kernel.limits import MAX_NUMBER
from schemas.exchange import ExchangeStep
from schemas.order import OrderStatus

_STEP: dict[str, Any] = {"type": "OrderPlaced", "at": "2026-01-31T12:00:00.000000Z", "reason": None}
_SUMMARY: dict[str, Any] = {
    "id": "01900000-0000-7000-8000-000000000001",
    "version": 3,
    "customer_id": "ada",
    "status": "confirmed",
    "currency": "USD",
    "total_minor": 300,
    "due_minor": 300,
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
    "cancelled": 0,
    "lost": 0,
}
_ORDER: dict[str, Any] = {
    **_SUMMARY,
    "reason": None,
    "pay_by": "2026-01-31T12:15:00.000000Z",
    "exchange_id": None,
    "lines": [_LINE],
    "cancel": None,
    "cancelled_minor": 0,
    "lost_minor": 0,
    "returned_minor": 0,
    "goodwill_minor": 0,
    "credit_given_minor": 0,
    "credit_got_minor": 0,
    "steps": [_STEP],
    "updated_at": "2026-01-31T12:00:00.250000Z",
}
_EXCHANGE: dict[str, Any] = {
    "exchange_id": "01900000-0000-7000-8000-000000000003",
    "version": 1,
    "order_id": _SUMMARY["id"],
    "new_order_id": "01900000-0000-7000-8000-000000000002",
    "customer_id": "ada",
    "step": "reserving",
    "reason": None,
    "units": [{"sku": "milk", "quantity": 1}],
    "return_number": None,
    "value_minor": 0,
    "credit_minor": 0,
    "steps": [{**_STEP, "type": "ExchangeRequested"}],
    "updated_at": "2026-01-31T12:00:00.250000Z",
}
_CASE: dict[str, Any] = {
    "about": "payment",
    "order_id": _SUMMARY["id"],
    "kind": "refund failed",
    "number": 3,
    "reason": "it failed 5 times",
    "since": "2026-01-31T12:00:00.250000Z",
}


CardToken = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
About = Literal["payment", "fulfilment", "returns"]


class NewOrder(Body):
    """What a customer wants. What it costs is not the customer's to say."""

    model_config = ConfigDict(json_schema_extra={"example": {"customer_id": "ada", "lines": [{"sku": "milk", "quantity": 2}]}})

    customer_id: Id
    lines: NewLines
    card_token: Annotated[
        CardToken | None, Field(description="The provider's name for the customer's card; it may be given later, too.")
    ] = None


class Cancellation(Body):
    """Units of a confirmed order that are not to be sent."""

    model_config = ConfigDict(json_schema_extra={"example": {"lines": [{"sku": "milk", "quantity": 1}]}})

    lines: NewLines

class Goodwill(Body):
    """What the shop gives up of what is due."""

    model_config = ConfigDict(json_schema_extra={"example": {"amount_minor": 100, "reason": "it came late"}})

    amount_minor: Annotated[int, Field(ge=1, le=MAX_NUMBER)]
    reason: Annotated[Text, Field(min_length=1)]


class NewExchange(Body):
    """Units of an order that has arrived, and what the customer wants for them."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "order_id": _SUMMARY["id"],
                "give_back": [{"sku": "milk", "quantity": 1}],
                "lines": [{"sku": "bread", "quantity": 1}],
                "card_token": "tok_visa",
            }
        }
    )

    order_id: Annotated[UUID, Field(strict=False)]
    give_back: NewLines
    lines: NewLines
    card_token: Annotated[CardToken | None, Field(description="For what the new order costs more.")] = None


class ExchangeId(Path):
    """An exchange."""

    exchange_id: Annotated[UUID, Field(json_schema_extra={"example": _EXCHANGE["exchange_id"]})]


class OpenCases(Query):
    """Which cases to give."""

    about: Annotated[About | None, Field(description="Those of one kind of aggregate.")] = None
    limit: Annotated[int, Field(ge=1, le=1_000)] = 100


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
    """Units of one product, as it was when the order was placed, and what of them will not come."""

    sku: str
    name: str
    department: str
    category: str
    brand: str
    quantity: int
    unit_price_minor: int
    cancelled: int
    lost: int


class CancelRequest(BaseModel):
    """The last request to stop units."""

    number: int
    units: list[Units]


class OrderSummary(BaseModel):
    """An order without its lines."""

    model_config = ConfigDict(json_schema_extra={"example": _SUMMARY})

    id: str
    version: int
    customer_id: str
    status: OrderStatus
    currency: str
    total_minor: int = Field(description="In minor units of the currency.")
    due_minor: int = Field(description="What the customer owes in all: the total, less what was cancelled, lost, returned or given up.")
    placed_at: str


class Order(OrderSummary):
    """An order as it is now."""

    model_config = ConfigDict(json_schema_extra={"example": _ORDER})

    reason: str | None = Field(description="Why it was rejected, or cancelled by nobody's wish.")
    pay_by: str = Field(description="When it is cancelled unless it is reserved and paid for.")
    exchange_id: str | None
    lines: list[OrderLine]
    cancel: CancelRequest | None
    cancelled_minor: int
    lost_minor: int
    returned_minor: int
    goodwill_minor: int
    credit_given_minor: int
    credit_got_minor: int
    steps: list[Step]
    updated_at: str


class WholeOrder(Order):
    """An order, with its payment, its parcels and its returns, as far as there are any yet."""

    model_config = ConfigDict(json_schema_extra={"example": {**_ORDER, "payment": None, "fulfilment": None, "returns": None}})

    payment: dict[str, Any] | None = Field(description="As GET /v1/payments/{order_id} gives it.")
    fulfilment: dict[str, Any] | None = Field(description="As GET /v1/fulfilments/{order_id} gives it.")
    returns: dict[str, Any] | None = Field(description="As GET /v1/returns/{order_id} gives them.")


class Exchange(BaseModel):
    """An exchange as it is now."""

    model_config = ConfigDict(json_schema_extra={"example": _EXCHANGE})

    exchange_id: str
    version: int
    order_id: str
    new_order_id: str
    customer_id: str
    step: ExchangeStep
    reason: str | None
    units: list[Units]
    return_number: int | None
    value_minor: int
    credit_minor: int
    steps: list[Step]
    updated_at: str


class OpenCase(BaseModel):
    """What needs a person."""

    model_config = ConfigDict(json_schema_extra={"example": _CASE})

    about: About
    order_id: str
    kind: str
    number: int = Field(description="Of the operation, the shipment or the return.")
    reason: str
    since: str


class Cases(BaseModel):
    """What needs a person, what has waited longest first."""

    model_config = ConfigDict(json_schema_extra={"example": {"cases": [_CASE]}})

    cases: list[OpenCase]


class OrderPage(BaseModel):
    """Some of a customer's orders, the newest first."""

    model_config = ConfigDict(json_schema_extra={"example": {"orders": [_SUMMARY], "next_cursor": None}})

    orders: list[OrderSummary]
    next_cursor: NextCursor
