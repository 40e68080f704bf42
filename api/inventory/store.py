"""The inventory's SQL."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from psycopg2.extensions import cursor as Cursor

from api.inventory import rules
from api.inventory.rules import Decision, Line, Reservation, Stock
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

_RESERVATIONS = "SELECT order_id, version, status, lines::text FROM reservation WHERE order_id = ANY(%s)"

_KEEP_RESERVATIONS = """
INSERT INTO reservation (updated_at, order_id, version, status, lines)
SELECT %s::timestamptz, * FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[]::jsonb[])
ON CONFLICT (order_id) DO UPDATE
SET version = excluded.version, status = excluded.status, updated_at = excluded.updated_at
"""

#: What its reactions have done: each order's answer, and whether stock is held for it.
HELD = "SELECT order_id, jsonb_build_object('held', status = 'made')::text FROM reservation"

#: By topic: every aggregate's id and state, ordered by id, in the shape of its view row where it has one.
STATES: Mapping[str, str] = {
    "marea.stock": """
SELECT sku AS id, jsonb_build_object(
    'sku', sku, 'version', version, 'on_hand', on_hand, 'reserved', reserved, 'available', on_hand - reserved,
    'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) AS state
FROM stock ORDER BY sku COLLATE "C"
""",
    "marea.reservation": """
SELECT order_id AS id, jsonb_build_object('order_id', order_id, 'version', version, 'status', status) AS state
FROM reservation ORDER BY order_id COLLATE "C"
""",
}


class Inventory:
    """The inventory's tables, on a cursor."""

    def __init__(self, cursor: Cursor, outbox: Outbox[StockEvent | ReservationEvent]) -> None:
        self._cursor = cursor
        self._outbox = outbox

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

    def reservations(self, order_ids: Collection[str]) -> dict[str, Reservation]:
        """The reservations of those orders that have one."""
        self._cursor.execute(_RESERVATIONS, (list(order_ids),))
        return {
            order_id: Reservation(order_id, version, status, [Line(**line) for line in orjson.loads(lines)])
            for order_id, version, status, lines in self._cursor.fetchall()
        }

    def save(self, events: Sequence[StockEvent], now: datetime, answer: Answer | None = None) -> None:
        """Writes what the events say of locked stock items, and publishes them."""
        if events:
            self._cursor.execute(_SAVE, (now, *_columns(rules.stock_after(events).values())))
            self._outbox.publish(self._cursor, events, answer)

    def keep(self, decisions: Sequence[Decision], now: datetime) -> None:
        """Writes what was decided of reservations and of locked stock items, in order; publishes the events."""
        if decisions:
            self.save([event for decision in decisions for event in decision.stock], now)
            last = {decision.reservation.order_id: decision.reservation for decision in decisions}
            self._cursor.execute(_KEEP_RESERVATIONS, (now, *_columns(map(_row, last.values()))))
            self._outbox.publish(self._cursor, [decision.event for decision in decisions])


def _row(reservation: Reservation) -> tuple[Any, ...]:
    order_id, version, status, lines = reservation
    return order_id, version, status, orjson.dumps([line._asdict() for line in lines]).decode()


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
