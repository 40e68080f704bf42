"""What may happen to an order: placed, then confirmed or rejected; cancelled unless it was rejected.

An order that nobody answers in time is cancelled.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from kernel.context import Context
from kernel.limits import MAX_NUMBER
from kernel.refusals import Conflict, FieldError, Invalid, Unknown, check_seen
from schemas.order import (
    STATUS,
    OrderCancelled,
    OrderCancelledData,
    OrderConfirmed,
    OrderConfirmedData,
    OrderEvent,
    OrderLine,
    OrderPlaced,
    OrderRejected,
    OrderStatus,
)

#: Why an order is cancelled that was placed too long ago.
UNANSWERED = "the inventory did not answer in time"


class Line(NamedTuple):
    """What a customer asks for: units of one product."""

    sku: str
    quantity: int


class Price(NamedTuple):
    """A product's `version` that can be ordered, as orders know it; `price_minor` is in minor units of `currency`."""

    version: int
    name: str
    department: str
    category: str
    brand: str
    price_minor: int
    currency: str


class Order(NamedTuple):
    """What further decisions about an order need to know of it."""

    id: str
    version: int
    status: OrderStatus
    customer_id: str
    placed_at: datetime
    currency: str
    total_minor: int
    line_count: int


def place(
    order_id: str, customer_id: str, lines: Sequence[Line], prices: Mapping[str, Price], context: Context
) -> OrderPlaced:
    """An order at the prices of now. Refused when a line can't be priced, naming every such line."""
    errors = _errors(lines, prices)
    if errors:
        raise Invalid("Some lines can't be ordered.", errors)
    total_minor = sum(line.quantity * prices[line.sku].price_minor for line in lines)
    if total_minor > MAX_NUMBER:
        raise Invalid(
            "The total is too large.", [FieldError("lines", f"the total is above {MAX_NUMBER} minor units")]
        )
    return context.event(
        "OrderPlaced",
        order_id,
        1,
        {
            "order_id": order_id,
            "customer_id": customer_id,
            "placed_at": context.now,
            "currency": prices[lines[0].sku].currency,
            "total_minor": total_minor,
            "lines": [_priced(line, prices[line.sku]) for line in lines],
        },
    )


def cancel(
    order_id: str, order: Order | None, expected: Collection[int] | None, context: Context
) -> OrderCancelled | None:
    """Takes an order back; None when it has been already. `expected` are the versions that will do; None if any will."""
    if order is None:
        raise Unknown(f"There is no order {order_id}.")
    check_seen(f"Order {order_id}", order.version, expected)
    if order.status == "cancelled":
        return None
    if order.status == "rejected":
        raise Conflict(f"Order {order_id} was rejected: there is nothing to cancel.")
    return context.event("OrderCancelled", order.id, order.version + 1, {**_summary(order), "reason": None})


def expire(order: Order, context: Context) -> OrderCancelled | None:
    """The time for an answer is over; None when the order is past waiting for it."""
    if order.status != "placed":
        return None
    data: OrderCancelledData = {**_summary(order), "reason": UNANSWERED}
    return context.event("OrderCancelled", order.id, order.version + 1, data)


def confirm(order: Order, context: Context) -> OrderConfirmed | None:
    """Stock is reserved; None when the order is past waiting for it."""
    if order.status != "placed":
        return None
    return context.event("OrderConfirmed", order.id, order.version + 1, _summary(order))


def reject(order: Order, reason: str, context: Context) -> OrderRejected | None:
    """Stock can't be reserved; None when the order is past waiting for it."""
    if order.status != "placed":
        return None
    return context.event("OrderRejected", order.id, order.version + 1, {**_summary(order), "reason": reason})


def evolve(order: Order, event: OrderEvent) -> Order:
    """The order after an event that followed its placing."""
    return order._replace(version=event.version, status=STATUS[event.type])


def _errors(lines: Sequence[Line], prices: Mapping[str, Price]) -> list[FieldError]:
    errors: list[FieldError] = []
    first: dict[str, int] = {}
    currency: str | None = None
    for number, (sku, _) in enumerate(lines):
        field = f"lines.{number}.sku"
        price = prices.get(sku)
        if sku in first:
            errors.append(
                FieldError(field, f"{sku} is in line {first[sku]} already: add their quantities up")
            )
        elif price is None:
            errors.append(FieldError(field, f"there is no product {sku} to order"))
        elif price.currency != (currency or price.currency):
            errors.append(
                FieldError(field, f"{sku} is priced in {price.currency}, lines before it in {currency}")
            )
        else:
            currency = price.currency
        first.setdefault(sku, number)
    return errors


def _priced(line: Line, price: Price) -> OrderLine:
    return {
        "sku": line.sku,
        "name": price.name,
        "department": price.department,
        "category": price.category,
        "brand": price.brand,
        "quantity": line.quantity,
        "unit_price_minor": price.price_minor,
    }


def _summary(order: Order) -> OrderConfirmedData:
    """What every event after the first says; it is the same for each."""
    return {
        "order_id": order.id,
        "customer_id": order.customer_id,
        "placed_at": order.placed_at,
        "currency": order.currency,
        "total_minor": order.total_minor,
        "line_count": order.line_count,
    }
