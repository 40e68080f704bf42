"""Streams of changes."""

from typing import TYPE_CHECKING

from api.manifest import Resources, Service

if TYPE_CHECKING:
    from api.web.aio import AsyncApp  # a worker need not have it


def _create_app(given: Resources) -> "AsyncApp":
    from api.broadcast import routes
    from api.broadcast.reader import Reader

    return routes.create_app(lambda: Reader(given.kafka), given.partitions, given.codec)


SERVICE = Service(
    name="broadcast",
    number=4,
    summary="Changes as they happen, as server-sent events.",
    create_app=_create_app,
    paths=("streams",),
    streams=("streams/stock", "streams/orders", "orders/{order_id}/stream"),
    has_database=False,
    is_asyncio=True,
)
