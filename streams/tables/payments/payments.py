"""One row a payment: what is due, what was held, taken and given back, now."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from schemas import payment
from schemas.payment import PaymentEvent
from streams.engine.consumer import Row

TOPIC = payment.TOPIC

_FIELDS = (
    "order_id", "customer_id", "currency", "status", "due_minor", "authorized_minor", "captured_minor", "refunded_minor",
    "written_off_minor",
)  # fmt: skip


def rows(event: PaymentEvent) -> list[Row]:
    return [{**_of(event.data), "version": event.version, "updated_at": event.occurred_at}]


def expected(states: Iterable[Row]) -> Iterator[Row]:
    for state in states:
        yield {**_of(state), "version": state["version"], "updated_at": datetime.fromisoformat(state["updated_at"])}


def _of(data: Mapping[str, Any]) -> Row:
    operations = data["operations"]
    return {
        **{name: data[name] for name in _FIELDS},
        "reason": data["reason"] or "",
        "operations": len(operations),
        "declines": sum(each["kind"] == "authorize" and each["state"] == "failed" for each in operations),
        "cases": len(data["cases"]),
    }
