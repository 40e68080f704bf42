"""One row a return: what came back, and what it is worth."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from schemas import returns
from schemas.returns import ReturnsEvent
from streams.engine.consumer import Row

TOPIC = returns.TOPIC


def rows(event: ReturnsEvent) -> list[Row]:
    return list(_of(event.data, event.version, event.occurred_at))


def expected(states: Iterable[Row]) -> Iterator[Row]:
    for state in states:
        yield from _of(state, state["version"], datetime.fromisoformat(state["updated_at"]))


def _of(data: Mapping[str, Any], version: int, updated_at: datetime) -> Iterator[Row]:
    for each in data["returns"]:
        yield {
            "order_id": data["order_id"],
            "return": each["number"],
            "version": version,
            "status": each["status"],
            "units": sum(units["quantity"] for units in each["units"]),
            "currency": data["currency"],
            "value_minor": each["value_minor"],
            "is_restocked": int(each["is_restocked"]),
            "reason": each["reason"] or "",
            "updated_at": updated_at,
        }
