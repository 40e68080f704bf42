"""Events of product: generated from the .avsc beside this by `python -m schemas.generate`, not to be edited."""

from typing import Literal, TypedDict

from schemas.event import Event, Topic


class ProductArchivedData(TypedDict):
    """A product left the catalog; all fields as they were last."""

    #: Stock keeping unit: the product's id.
    sku: str
    name: str
    department: str
    category: str
    brand: str
    #: List price in minor units of the currency.
    price_minor: int
    #: ISO 4217 code.
    currency: str


class ProductCreatedData(TypedDict):
    """A product came into the catalog."""

    #: Stock keeping unit: the product's id.
    sku: str
    name: str
    department: str
    category: str
    brand: str
    #: List price in minor units of the currency.
    price_minor: int
    #: ISO 4217 code.
    currency: str


class ProductUpdatedData(TypedDict):
    """A product's description or price changed; all fields as they are now."""

    #: Stock keeping unit: the product's id.
    sku: str
    name: str
    department: str
    category: str
    brand: str
    #: List price in minor units of the currency.
    price_minor: int
    #: ISO 4217 code.
    currency: str


ProductArchived = Event[Literal["ProductArchived"], ProductArchivedData]
ProductCreated = Event[Literal["ProductCreated"], ProductCreatedData]
ProductUpdated = Event[Literal["ProductUpdated"], ProductUpdatedData]

ProductEvent = ProductArchived | ProductCreated | ProductUpdated
ProductEventType = Literal["ProductArchived", "ProductCreated", "ProductUpdated"]

TOPIC = Topic[ProductEvent]("marea.product")
