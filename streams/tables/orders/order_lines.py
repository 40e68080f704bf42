"""One row a line of an order, with the product as it was when the order was placed."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from schemas.event import Event
from streams.engine.consumer import Row

TOPIC = "marea.order"


def rows(event: Event) -> list[Row]:
    if event.type != "OrderPlaced":
        return []
    return [_row(event.key, event.data, line, number) for number, line in enumerate(event.data["lines"], 1)]


def expected(states: Iterable[Row]) -> Iterator[Row]:
    for state in states:
        placed = {**state, "placed_at": datetime.fromisoformat(state["placed_at"])}
        yield from (_row(state["id"], placed, line, number) for number, line in enumerate(state["lines"], 1))


def _row(order_id: str, order: Row, line: Row, number: int) -> Row:
    return {
        "order_id": order_id,
        "line": number,
        # Lines are those of the first event and never change.
        "version": 1,
        "customer_id": order["customer_id"],
        **line,
        "currency": order["currency"],
        "placed_at": order["placed_at"],
    }
