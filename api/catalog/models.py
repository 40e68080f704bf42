"""What the catalog takes and gives over HTTP."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from api.web.items import MOST_ITEMS, Each
from api.web.pages import NextCursor, Page
from api.web.requests import Body, Id, Path, Text
from kernel.limits import MAX_NUMBER

_DESCRIPTION: dict[str, Any] = {
    "name": "Milk",
    "department": "GROCERY",
    "category": "FLUID MILK PRODUCTS",
    "brand": "National",
    "price_minor": 150,
    "currency": "USD",
}
_MILK: dict[str, Any] = {"sku": "milk", **_DESCRIPTION}
_PRODUCT = {**_MILK, "version": 1, "archived": False, "updated_at": "2026-01-31T12:00:00.000000Z"}

Name = Annotated[Text, Field(min_length=1)]
PriceMinor = Annotated[
    int, Field(ge=0, le=MAX_NUMBER, description="List price in minor units of the currency.")
]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code.")]


class Description(Body):
    """All that is said of a product. Where it belongs may be unknown: then that is an empty text."""

    model_config = ConfigDict(json_schema_extra={"example": _DESCRIPTION})

    name: Name
    department: Text
    category: Text
    brand: Text
    price_minor: PriceMinor
    currency: Currency


class NewProduct(Description):
    """A product that comes into the catalog."""

    model_config = ConfigDict(json_schema_extra={"example": _MILK})

    sku: Id


class NewProducts(Body):
    """Products that come into the catalog together."""

    model_config = ConfigDict(json_schema_extra={"example": {"products": [_MILK]}})

    products: Annotated[list[Each[NewProduct]], Field(min_length=1, max_length=MOST_ITEMS)]


def _without_defaults(schema: dict[str, Any]) -> None:
    schema["example"] = {"price_minor": 175}
    for field in schema["properties"].values():
        del field["default"]


class Changes(Body):
    """The fields to change; those left out stay as they are."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    name: Name = ""
    department: Text = ""
    category: Text = ""
    brand: Text = ""
    price_minor: PriceMinor = 0
    currency: Currency = ""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("empty", "Name at least one field to change")
        return self


class Sku(Path):
    """A product."""

    sku: Annotated[Id, Field(json_schema_extra={"example": "milk"})]


class Products(Page):
    """Which products to list: those that meet every filter that is given. An empty text is what is unknown."""

    department: Text | None = None
    category: Text | None = None
    brand: Text | None = None
    archived: Annotated[bool, Field(description="Those that were taken out of the shop, in place of those in it.")] = False


class Product(BaseModel):
    """A product as it is now."""

    model_config = ConfigDict(json_schema_extra={"example": _PRODUCT})

    sku: str
    version: int
    name: str
    department: str
    category: str
    brand: str
    price_minor: int = Field(description="List price in minor units of the currency.")
    currency: str
    archived: bool
    updated_at: str


class ProductList(BaseModel):
    """Some products."""

    model_config = ConfigDict(json_schema_extra={"example": {"products": [_PRODUCT], "next_cursor": None}})

    products: list[Product] = Field(description="By sku, in the order of its characters' numbers.")
    next_cursor: NextCursor
