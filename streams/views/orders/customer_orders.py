"""Every order without its lines, to be found by its customer, by time."""

from collections.abc import Iterable, Iterator

from schemas import order
from schemas.event import iso_utc
from schemas.order import OrderEvent
from streams.engine.consumer import Row, SortKey

TOPIC = order.TOPIC

_FIELDS = ("version", "status", "currency", "total_minor", "due_minor", "placed_at", "customer_id")


def fold(row: Row | None, event: OrderEvent) -> Row:
    return {
        "id": event.key,
        "version": event.version,
        "status": event.data["status"],
        "currency": event.data["currency"],
        "total_minor": event.data["total_minor"],
        "due_minor": event.data["due_minor"],
        "placed_at": iso_utc(event.data["placed_at"]),
        "customer_id": event.data["customer_id"],
    }


def _by_customer(row: Row) -> Iterator[SortKey]:
    yield row["customer_id"], row["placed_at"]


def _by_status(row: Row) -> Iterator[SortKey]:
    yield row["customer_id"], row["status"], row["placed_at"]


INDEXES = {"customer": _by_customer, "customer,status": _by_status}


def expected(states: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    return (
        (state["order_id"], {"id": state["order_id"], **{field: state[field] for field in _FIELDS}}) for state in states
    )
