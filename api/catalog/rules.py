"""What may happen to a product."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, cast

from kernel.context import Context
from kernel.refusals import Conflict, Unknown, check_seen
from schemas.product import (
    ProductArchived,
    ProductCreated,
    ProductCreatedData,
    ProductEvent,
    ProductUpdated,
    ProductUpdatedData,
)


class Product(NamedTuple):
    """A product as it is now: `data` is what its last event says of it, which is all that there is to say."""

    version: int
    archived: bool
    data: ProductUpdatedData


def create(sku: str, description: Mapping[str, Any], context: Context) -> ProductCreated:
    """A new product. `description` has all its other fields. That its sku is free is the store's to find out."""
    data = cast("ProductCreatedData", {"sku": sku, **description})
    return context.event("ProductCreated", sku, 1, data)


def update(
    sku: str, product: Product | None, changes: Mapping[str, Any], expected: Collection[int] | None, context: Context
) -> ProductUpdated:
    """Sets the fields in `changes`. `expected` are the versions that will do; None if any will."""
    product = _changeable(sku, product, expected)
    data = cast("ProductUpdatedData", {**product.data, **changes})
    return context.event("ProductUpdated", sku, product.version + 1, data)


def archive(sku: str, product: Product | None, expected: Collection[int] | None, context: Context) -> ProductArchived:
    """Takes the product out of the shop, for good."""
    product = _changeable(sku, product, expected)
    return context.event("ProductArchived", sku, product.version + 1, product.data)


def evolve(event: ProductEvent) -> Product:
    """The product after an event, which carries all of it."""
    return Product(event.version, event.type == "ProductArchived", event.data)


def _changeable(sku: str, product: Product | None, expected: Collection[int] | None) -> Product:
    if product is None:
        raise Unknown(f"There is no product {sku}.")
    check_seen(f"Product {sku}", product.version, expected)
    if product.archived:
        raise Conflict(f"Product {sku} is archived: it can't be changed.")
    return product
