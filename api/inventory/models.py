"""What the inventory takes and gives over HTTP."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from api.web.items import MOST_ITEMS, Each
from api.web.pages import NextCursor, Page
from api.web.requests import Body, Id, Path, Text
from kernel.limits import MAX_NUMBER

_STOCK: dict[str, Any] = {
    "sku": "milk",
    "version": 3,
    "on_hand": 10,
    "reserved": 2,
    "available": 8,
    "updated_at": "2026-01-31T12:00:00.000000Z",
}

Units = Annotated[int, Field(ge=1, le=MAX_NUMBER)]


class NewReceipt(Body):
    """Units that came in."""

    model_config = ConfigDict(json_schema_extra={"example": {"quantity": 10}})

    quantity: Units


class NewReceiptOf(NewReceipt):
    """Units of a product that came in."""

    model_config = ConfigDict(json_schema_extra={"example": {"sku": "milk", "quantity": 10}})

    sku: Id


class NewReceipts(Body):
    """Units of several products that came in."""

    model_config = ConfigDict(json_schema_extra={"example": {"receipts": [{"sku": "milk", "quantity": 10}]}})

    receipts: Annotated[list[Each[NewReceiptOf]], Field(min_length=1, max_length=MOST_ITEMS)]


class NewAdjustment(Body):
    """What a count found."""

    model_config = ConfigDict(json_schema_extra={"example": {"quantity": -1, "reason": "broken"}})

    quantity: Annotated[
        int, Field(ge=-MAX_NUMBER, le=MAX_NUMBER, description="Units found; negative when units are missing.")
    ]
    reason: Annotated[Text, Field(min_length=1)]

    @field_validator("quantity")
    @classmethod
    def _not_zero(cls, quantity: int) -> int:
        if quantity == 0:
            raise PydanticCustomError("zero", "Input should not be 0")
        return quantity


class Sku(Path):
    """A stock item, by its product."""

    sku: Annotated[Id, Field(json_schema_extra={"example": "milk"})]


class Below(Page):
    """Which stock items to list."""

    below: Annotated[int, Field(ge=0, le=MAX_NUMBER, description="Items with fewer units available than this.")]


class Stock(BaseModel):
    """A stock item as it is now."""

    model_config = ConfigDict(json_schema_extra={"example": _STOCK})

    sku: str
    version: int
    on_hand: int = Field(description="Units in the warehouse.")
    reserved: int = Field(description="Of these, units promised to orders.")
    available: int = Field(description="Of these, units that can be sold.")
    updated_at: str


class StockList(BaseModel):
    """Some stock items, by what is available."""

    model_config = ConfigDict(json_schema_extra={"example": {"stock": [_STOCK], "next_cursor": None}})

    stock: list[Stock] = Field(description="Those with the fewest units available first.")
    next_cursor: NextCursor
