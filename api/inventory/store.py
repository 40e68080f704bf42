"""The inventory's SQL."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg2.extensions import cursor as Cursor

from api.inventory import rules
from api.inventory.rules import Stock
from kernel.aggregates import Aggregates, states_query
from kernel.answers import Answer
from kernel.outbox import Outbox
from schemas.reservation import ReservationEvent
from schemas.stock import StockEvent

# Every transaction locks the stock items it needs in order of sku: two of them wait and do not deadlock.
_LOCK = "SELECT sku, version, on_hand, reserved FROM stock WHERE sku = ANY(%s) ORDER BY sku FOR UPDATE"

_ADD = """
INSERT INTO stock (sku, version, on_hand, reserved, updated_at)
SELECT sku, 0, 0, 0, now() FROM unnest(%s::text[]) AS new (sku) ORDER BY sku ON CONFLICT (sku) DO NOTHING
"""

_SAVE = """
UPDATE stock SET version = new.version, on_hand = new.on_hand, reserved = new.reserved, updated_at = %s
FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[]) AS new (sku, version, on_hand, reserved)
WHERE stock.sku = new.sku
"""

_CHANGE = (
    "UPDATE stock SET version = %s, on_hand = %s, reserved = %s, updated_at = %s WHERE sku = %s RETURNING sku"
)

#: What its reactions have done: what each reservation knows of its order, its parcels and its returns.
STOPPED = "SELECT id::text, jsonb_build_object('version', state -> 'order_version')::text FROM reservation WHERE version > 0"
GONE = "SELECT id::text, jsonb_build_object('gone', notes -> 'gone')::text FROM reservation WHERE notes ? 'gone'"
RESTOCKED = "SELECT id::text, jsonb_build_object('restocked', notes -> 'restocked')::text FROM reservation WHERE notes ? 'restocked'"

#: For `verify`: what is kept for each order; and of each product, how much of it is reserved, and how much of it is for orders.
BOOKS: Mapping[str, str] = {
    "reserved": """
SELECT id::text, jsonb_build_object('id', id, 'version', version, 'lines', state -> 'lines')::text FROM reservation
""",
    "stock": """
SELECT sku, jsonb_build_object('id', sku, 'version', version, 'reserved', reserved, 'promised', coalesce(promised, 0))::text
FROM stock LEFT JOIN (
    SELECT line ->> 'sku' AS sku, sum((line ->> 'reserved')::bigint - (line ->> 'released')::bigint - (line ->> 'consumed')::bigint)
        AS promised FROM reservation, jsonb_array_elements(state -> 'lines') AS line GROUP BY 1
) AS kept USING (sku)
""",
}

#: By topic: every aggregate's id and state, ordered by id, in the shape of its view row where it has one.
STATES: Mapping[str, str] = {
    "marea.stock": """
SELECT sku AS id, jsonb_build_object(
    'sku', sku, 'version', version, 'on_hand', on_hand, 'reserved', reserved, 'available', on_hand - reserved,
    'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) AS state
FROM stock ORDER BY sku COLLATE "C"
""",
    "marea.reservation": states_query("reservation"),
}


class Inventory:
    """The inventory's tables, on a cursor."""

    def __init__(self, cursor: Cursor, outbox: Outbox[StockEvent | ReservationEvent]) -> None:
        self._cursor = cursor
        self._outbox = outbox
        self.reservations: Aggregates[rules.State, Any] = Aggregates(
            cursor, outbox, "reservation", "ReservationMade", rules.reservation_after
        )

    def lock(self, skus: Collection[str]) -> dict[str, Stock]:
        """The stock items that exist, which nobody else changes before the transaction ends."""
        self._cursor.execute(_LOCK, (list(skus),))
        return {row[0]: Stock(*row) for row in self._cursor.fetchall()}

    def lock_or_add(self, skus: Collection[str]) -> dict[str, Stock]:
        """As `lock`, with an item of version 0 for each sku that there was none of; all must be saved."""
        self._cursor.execute(_ADD, (list(skus),))
        return self.lock(skus)

    def change(self, event: StockEvent, answer: Answer | None) -> None:
        """Writes one locked stock item and publishes its event."""
        sku, *fields = rules.evolve(event)
        self._outbox.change(self._cursor, _CHANGE, (*fields, event.occurred_at, sku), event, answer)

    def save(self, events: Sequence[StockEvent], now: datetime, answer: Answer | None = None) -> None:
        """Writes what the events say of locked stock items, and publishes them."""
        if events:
            self._cursor.execute(_SAVE, (now, *_columns(rules.stock_after(events).values())))
            self._outbox.publish(self._cursor, events, answer)


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
