"""What may be asked of a stream."""

from typing import Annotated

from pydantic import Field

from api.web.requests import Headers, Id, Query

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
