"""One row a parcel: where it is now."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from schemas import fulfilment
from schemas.fulfilment import FulfilmentEvent
from streams.engine.consumer import Row

TOPIC = fulfilment.TOPIC


def rows(event: FulfilmentEvent) -> list[Row]:
    return list(_of(event.data, event.version, event.occurred_at))


def expected(states: Iterable[Row]) -> Iterator[Row]:
    for state in states:
        yield from _of(state, state["version"], datetime.fromisoformat(state["updated_at"]))


def _of(data: Mapping[str, Any], version: int, updated_at: datetime) -> Iterator[Row]:
    for each in data["shipments"]:
        yield {
            "order_id": data["order_id"],
            "shipment": each["number"],
            "version": version,
            "status": each["status"],
            "units": sum(units["quantity"] for units in each["units"]),
            "currency": data["currency"],
            "amount_minor": each["amount_minor"],
            "tracking": each["tracking"] or "",
            "updated_at": updated_at,
        }
