"""The ledger of the warehouse: one row a change of a stock item."""

from collections.abc import Iterable, Iterator, Mapping

from schemas import stock
from schemas.stock import StockEvent, StockEventType
from streams.engine.consumer import Row

TOPIC = stock.TOPIC

# A ledger is compared by what its rows add up to; a missing or doubled one changes a count or a sum.
STATE_QUERY = """
SELECT sku, count() AS version, sum(on_hand_delta) AS on_hand, sum(reserved_delta) AS reserved
FROM {table:Identifier} FINAL GROUP BY sku
"""

# Event type: the kind of movement, and the signs with which its quantity changes on hand and reserved.
_KINDS: Mapping[StockEventType, tuple[str, int, int]] = {
    "StockReceived": ("received", 1, 0),
    "StockAdjusted": ("adjusted", 1, 0),
    "StockReserved": ("reserved", 0, 1),
    "StockReleased": ("released", 0, -1),
    "StockShipped": ("shipped", -1, -1),
}


def rows(event: StockEvent) -> list[Row]:
    kind, on_hand_sign, reserved_sign = _KINDS[event.type]
    quantity = event.data["quantity"]
    return [
        {
            "sku": event.key,
            "version": event.version,
            "kind": kind,
            "order_id": _order_id(event),
            "reason": event.data["reason"] if event.type == "StockAdjusted" else "",
            "on_hand_delta": on_hand_sign * quantity,
            "reserved_delta": reserved_sign * quantity,
            "on_hand": event.data["on_hand"],
            "reserved": event.data["reserved"],
            "occurred_at": event.occurred_at,
        }
    ]


def expected(states: Iterable[Row]) -> Iterator[Row]:
    return ({name: state[name] for name in ("sku", "version", "on_hand", "reserved")} for state in states)


def _order_id(event: StockEvent) -> str:
    match event.type:
        case "StockReserved" | "StockReleased" | "StockShipped":
            return event.data["order_id"]
    return ""
