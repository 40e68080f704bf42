"""Units of products in a request."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from api.web.requests import Body, Id
from kernel.refusals import FieldError, Invalid


class NewLine(Body):
    """Units of one product."""

    sku: Id
    quantity: Annotated[int, Field(ge=1, le=100_000)]


NewLines = Annotated[list[NewLine], Field(min_length=1, max_length=500)]


def by_sku(lines: Iterable[NewLine], field: str = "lines") -> dict[str, int]:
    """Units of each product. Raises Invalid when one comes twice."""
    found: dict[str, int] = {}
    for number, line in enumerate(lines):
        if line.sku in found:
            raise Invalid("Each product comes once.", [FieldError(f"{field}.{number}.sku", f"{line.sku} has come before")])
        found[line.sku] = line.quantity
    return found
