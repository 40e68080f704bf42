"""Requests that carry many items, each of which gets its own result."""

from http import HTTPStatus
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.json_schema import SkipJsonSchema

from api.web.problems import FieldProblem
from api.web.requests import field_errors
from kernel.refusals import FieldError

#: The most items of one request.
MOST_ITEMS = 1_000


class Unreadable(NamedTuple):
    """An item that is not valid: the others are handled all the same."""

    sku: str | None
    errors: list[FieldError]


def _keep_errors(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError as error:
        sku = value.get("sku") if isinstance(value, dict) else None
        return Unreadable(sku if isinstance(sku, str) else None, field_errors(error))


_Item = TypeVar("_Item")

#: A valid item, or what is wrong with it.
Each = Annotated[_Item, WrapValidator(_keep_errors)] | SkipJsonSchema[InstanceOf[Unreadable]]


class ItemResult(BaseModel):
    """What became of one item."""

    sku: str | None
    status: int = Field(description="As if the item had come in a request of its own.")
    version: int | None = Field(default=None, description="The version that it made.")
    detail: str | None = Field(default=None, description="Why it was refused.")
    errors: list[FieldProblem] = Field(default=[], description="The item's fields at fault, if some are.")


class Results(BaseModel):
    """One for each item, in the items' order."""

    model_config = ConfigDict(json_schema_extra={"example": {"results": [{"sku": "milk", "status": 201, "version": 1}]}})

    results: list[ItemResult]


def done(sku: str, status: HTTPStatus, version: int) -> dict[str, Any]:
    """The result of an item that was carried out."""
    return {"sku": sku, "status": status, "version": version}


def refused(sku: str, detail: str) -> dict[str, Any]:
    """The result of an item that the aggregate's state does not allow."""
    return {"sku": sku, "status": HTTPStatus.CONFLICT, "detail": detail}


def unreadable(item: Unreadable) -> dict[str, Any]:
    """The result of an item that is not valid."""
    return {
        "sku": item.sku,
        "status": HTTPStatus.UNPROCESSABLE_ENTITY,
        "detail": "The item is not valid: see errors.",
        "errors": [error._asdict() for error in item.errors],
    }
