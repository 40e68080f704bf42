"""Every customer's orders, without their lines.

Orders are spread over partitions by their own ids, so a customer has a row in several: readers merge them.
"""

from collections.abc import Iterable, Iterator

from schemas import order
from schemas.event import iso_utc
from schemas.order import STATUS, OrderEvent
from streams.engine.consumer import Row

TOPIC = order.TOPIC

_FIELDS = ("version", "status", "currency", "total_minor", "placed_at")


def key(event: OrderEvent) -> str:
    return event.data["customer_id"]


def fold(row: Row | None, event: OrderEvent) -> Row | None:
    return {
        **(row or {}),
        event.key: {
            "version": event.version,
            "status": STATUS[event.type],
            "currency": event.data["currency"],
            "total_minor": event.data["total_minor"],
            "placed_at": iso_utc(event.data["placed_at"]),
        },
    }


def expected(states: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    rows: dict[str, Row] = {}
    for state in states:
        row = rows.setdefault(state["customer_id"], {})
        row[state["id"]] = {field: state[field] for field in _FIELDS}
    yield from rows.items()
