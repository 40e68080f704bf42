"""What may happen to a product."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from kernel.context import Context
from kernel.refusals import Conflict, Stale, Unknown
from schemas.event import Event


class Product(NamedTuple):
    """A product as it is now; `price_minor` is in minor units of `currency` (ISO 4217)."""

    sku: str
    version: int
    name: str
    department: str
    category: str
    brand: str
    price_minor: int
    currency: str
    archived: bool


#: The fields that a sender chooses.
DESCRIPTION = ("name", "department", "category", "brand", "price_minor", "currency")


def create(sku: str, description: Mapping[str, Any], context: Context) -> Event:
    """A new product. That its sku is free is the store's to find out."""
    return context.event(
        "ProductCreated", sku, 1, {"sku": sku, **{name: description[name] for name in DESCRIPTION}}
    )


def update(
    sku: str, product: Product | None, changes: Mapping[str, Any], expected: int | None, context: Context
) -> Event:
    """Sets the fields in `changes`. `expected` is the version that the sender saw; None if any will do."""
    product = _changeable(sku, product, expected)
    return context.event("ProductUpdated", sku, product.version + 1, {**_data(product), **changes})


def archive(sku: str, product: Product | None, expected: int | None, context: Context) -> Event:
    """Takes the product out of the shop, for good."""
    product = _changeable(sku, product, expected)
    return context.event("ProductArchived", sku, product.version + 1, _data(product))


def evolve(event: Event) -> Product:
    """The product after an event, which carries all of it."""
    return Product(version=event.version, archived=event.type == "ProductArchived", **event.data)


def _changeable(sku: str, product: Product | None, expected: int | None) -> Product:
    if product is None:
        raise Unknown(f"There is no product {sku}.")
    if expected is not None and expected != product.version:
        raise Stale(f"Product {sku} is at version {product.version}, not {expected}: read it again.")
    if product.archived:
        raise Conflict(f"Product {sku} is archived: it can't be changed.")
    return product


def _data(product: Product) -> dict[str, Any]:
    return {"sku": product.sku, **{name: getattr(product, name) for name in DESCRIPTION}}
