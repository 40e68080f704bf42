"""One row a line of an order, with the product as it was when the order was placed."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import cast

from schemas import order
from schemas.order import OrderEvent, OrderPlacedData
from streams.engine.consumer import Row

TOPIC = order.TOPIC


def rows(event: OrderEvent) -> list[Row]:
    if event.type != "OrderPlaced":
        return []
    return list(_rows(event.key, event.data))


def expected(states: Iterable[Row]) -> Iterator[Row]:
    for state in states:
        placed = {**state, "placed_at": datetime.fromisoformat(state["placed_at"])}
        yield from _rows(state["order_id"], cast("OrderPlacedData", placed))


def _rows(order_id: str, placed: OrderPlacedData) -> Iterator[Row]:
    for number, line in enumerate(placed["lines"], 1):
        yield {
            "order_id": order_id,
            "line": number,
            # Lines are those of the first event and never change.
            "version": 1,
            "customer_id": placed["customer_id"],
            **line,
            "currency": placed["currency"],
            "placed_at": placed["placed_at"],
        }
