"""What may be asked of a stream."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from api.web.requests import Headers, Id, Path, Query

#: The most skus that one listener may choose.
MOST_SKUS = 100


class LastEventId(Headers):
    """Where a stream goes on."""

    positions: Annotated[
        str | None,
        Field(
            alias="Last-Event-ID",
            pattern=r"^[0-9]{1,18}(-[0-9]{1,18})*$",
            description="The id of the last change that was seen: the stream goes on after it.",
        ),
    ] = None


class OfSkus(Query):
    """Which stock items to hear of."""

    sku: list[Id] = Field(
        default=[], max_length=MOST_SKUS, description="May be repeated. Without it: all stock items."
    )


class OfCustomer(Query):
    """Whose orders to hear of."""

    customer_id: Id


class OrderId(Path):
    """The order to hear of."""

    order_id: Annotated[UUID, Field(json_schema_extra={"example": "01900000-0000-7000-8000-000000000001"})]


class OfAll(Query):
    """Nothing can be chosen."""
