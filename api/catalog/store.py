"""The catalog's SQL."""

from collections.abc import Mapping, Sequence

from psycopg2.extensions import cursor as Cursor

from api.catalog import rules
from api.catalog.rules import Product
from kernel.outbox import Outbox
from schemas.event import Event

_COLUMNS = ", ".join(Product._fields)

_LOCK = f"SELECT {_COLUMNS} FROM product WHERE sku = %s FOR UPDATE"

_CREATE = f"""
INSERT INTO product ({_COLUMNS}, updated_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (sku) DO NOTHING RETURNING sku
"""

_CREATE_MANY = f"""
INSERT INTO product ({_COLUMNS}, updated_at)
SELECT * FROM unnest(
    %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[],
    %s::boolean[], %s::timestamptz[])
ON CONFLICT (sku) DO NOTHING RETURNING sku
"""

_UPDATE = """
UPDATE product SET (version, name, department, category, brand, price_minor, currency, archived, updated_at)
    = (%s, %s, %s, %s, %s, %s, %s, %s, %s)
WHERE sku = %s RETURNING sku
"""

#: By topic: every aggregate's id and state, ordered by id, in the shape of its view row.
STATES: Mapping[str, str] = {
    "marea.product": """
SELECT sku AS id, jsonb_build_object(
    'sku', sku, 'version', version, 'name', name, 'department', department, 'category', category,
    'brand', brand, 'price_minor', price_minor, 'currency', currency, 'archived', archived,
    'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) AS state
FROM product ORDER BY sku COLLATE "C"
""",
}


class Catalog:
    """The catalog's tables, on a cursor."""

    def __init__(self, cursor: Cursor, outbox: Outbox) -> None:
        self._cursor = cursor
        self._outbox = outbox

    def lock(self, sku: str) -> Product | None:
        """The product, which nobody else changes before the transaction ends."""
        self._cursor.execute(_LOCK, (sku,))
        row = self._cursor.fetchone()
        return Product(*row) if row else None

    def create(self, event: Event) -> bool:
        """False when the sku is taken."""
        row = (*rules.evolve(event), event.occurred_at)
        return self._outbox.change(self._cursor, _CREATE, row, event) is not None

    def create_many(self, events: Sequence[Event]) -> set[str]:
        """Creates the products whose sku is not taken; gives their skus. No two events may be of one sku."""
        if not events:
            return set()
        # In order of sku, so that two batches with the same products wait for each other and do not deadlock.
        events = sorted(events, key=lambda event: event.key)
        rows = [(*rules.evolve(event), event.occurred_at) for event in events]
        self._cursor.execute(_CREATE_MANY, [list(column) for column in zip(*rows, strict=True)])
        created = {sku for (sku,) in self._cursor.fetchall()}
        self._outbox.publish(self._cursor, [event for event in events if event.key in created])
        return created

    def update(self, event: Event) -> None:
        """Writes a change of a locked product."""
        sku, *fields = rules.evolve(event)
        self._outbox.change(self._cursor, _UPDATE, (*fields, event.occurred_at, sku), event)
