"""Placing an order: at which prices, and when it can't be."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from kernel.context import Context
from kernel.limits import MAX_NUMBER
from kernel.refusals import FieldError, Invalid
from schemas.order import OrderLine, OrderPlaced


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


class Payer(NamedTuple):
    """Who pays for an order, by which card, if it is known already, and within what time.

    `exchange_id` is the exchange for which it is placed, if it is for one.
    """

    customer_id: str
    card_token: str | None
    pay_within: timedelta
    exchange_id: str | None = None


def place(order_id: str, payer: Payer, lines: Sequence[Line], prices: Mapping[str, Price], context: Context) -> OrderPlaced:
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
            "customer_id": payer.customer_id,
            "placed_at": context.now,
            "currency": prices[lines[0].sku].currency,
            "total_minor": total_minor,
            "lines": [_priced(line, prices[line.sku]) for line in lines],
            "status": "placed",
            "reason": None,
            "due_minor": total_minor,
            "due_version": 1,
            "pay_by": context.now + payer.pay_within,
            "card_token": payer.card_token,
            "exchange_id": payer.exchange_id,
        },
    )


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
