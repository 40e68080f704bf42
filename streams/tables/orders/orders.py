"""One row an order: its state now, without its lines."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from schemas import order
from schemas.order import OrderEvent
from streams.engine.consumer import Row

TOPIC = order.TOPIC

_SUMS = ("cancelled_minor", "lost_minor", "returned_minor", "goodwill_minor", "credit_given_minor", "credit_got_minor")
_FIELDS = ("order_id", "customer_id", "status", "currency", "total_minor", "due_minor")


def rows(event: OrderEvent) -> list[Row]:
    data = event.data
    is_new = event.type == "OrderPlaced"
    return [
        {
            **{name: data[name] for name in _FIELDS},  # type: ignore[literal-required]
            **{name: 0 if is_new else data[name] for name in _SUMS},  # type: ignore[literal-required]
            "version": event.version,
            "reason": data["reason"] or "",
            "line_count": len(event.data["lines"] if event.type == "OrderPlaced" else event.data["units"]),
            "placed_at": data["placed_at"],
            "updated_at": event.occurred_at,
        }
    ]


def expected(states: Iterable[Row]) -> Iterator[Row]:
    for state in states:
        yield {
            **{name: state[name] for name in (*_FIELDS, *_SUMS, "version")},
            "reason": state["reason"] or "",
            "line_count": len(state["lines"]),
            "placed_at": datetime.fromisoformat(state["placed_at"]),
            "updated_at": datetime.fromisoformat(state["updated_at"]),
        }
