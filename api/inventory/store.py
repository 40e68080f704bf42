"""The inventory's SQL."""

from collections.abc import Collection, Mapping
from datetime import datetime

import orjson
from psycopg2.extensions import cursor as Cursor

from api.inventory import rules
from api.inventory.rules import Line, Reservation, Stock
from kernel import outbox
from schemas.event import Event

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


def lock(cursor: Cursor, skus: Collection[str]) -> dict[str, Stock]:
    """The stock items that exist, which nobody else changes before the transaction ends."""
    cursor.execute(_LOCK, (list(skus),))
    return {row[0]: Stock(*row) for row in cursor.fetchall()}


def lock_or_add(cursor: Cursor, skus: Collection[str]) -> dict[str, Stock]:
    """As `lock`, with an item of version 0 for each sku that there was none of; all must be saved."""
    cursor.execute(_ADD, (list(skus),))
    return lock(cursor, skus)


def save(cursor: Cursor, stocks: Collection[Stock], now: datetime) -> None:
    """Writes locked stock items; their events are published apart."""
    if stocks:
        cursor.execute(_SAVE, (now, *([*column] for column in zip(*stocks, strict=True))))


def change(cursor: Cursor, event: Event) -> None:
    """Writes one locked stock item and publishes its event."""
    sku, *fields = rules.evolve(event)
    outbox.change(cursor, _CHANGE, (*fields, event.occurred_at, sku), event)


def reservations(cursor: Cursor, order_ids: Collection[str]) -> dict[str, Reservation]:
    """The reservations of those orders that have one."""
    cursor.execute(_RESERVATIONS, (list(order_ids),))
    return {
        order_id: Reservation(order_id, version, status, [Line(**line) for line in orjson.loads(lines)])
        for order_id, version, status, lines in cursor.fetchall()
    }


def keep(cursor: Cursor, reservations: Mapping[str, Reservation], now: datetime) -> None:
    """Writes reservations, new ones and changed ones."""
    if not reservations:
        return
    rows = [
        (order_id, version, status, orjson.dumps([line._asdict() for line in lines]).decode())
        for order_id, version, status, lines in reservations.values()
    ]
    cursor.execute(_KEEP_RESERVATIONS, (now, *([*column] for column in zip(*rows, strict=True))))
