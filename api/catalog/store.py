"""The catalog's SQL."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson
from psycopg2.extensions import cursor as Cursor

from api.catalog import rules
from api.catalog.rules import Product
from kernel.answers import Answer
from kernel.outbox import Outbox
from schemas.event import iso_utc
from schemas.product import TOPIC, ProductCreated, ProductEvent, ProductUpdatedData

#: What events say of a product, each a column of its name.
_FIELDS = tuple(ProductUpdatedData.__annotations__)
_COLUMNS = ", ".join((*_FIELDS, "version", "archived", "updated_at"))

_LOCK = f"SELECT version, archived, {', '.join(_FIELDS)} FROM product WHERE sku = %s FOR UPDATE"

_CREATE = f"""
INSERT INTO product ({_COLUMNS}) SELECT {_COLUMNS} FROM jsonb_populate_recordset(NULL::product, %s::jsonb)
ON CONFLICT (sku) DO NOTHING RETURNING sku
"""

_UPDATE = f"""
UPDATE product SET ({_COLUMNS}) = (SELECT {_COLUMNS} FROM jsonb_populate_record(NULL::product, %s::jsonb))
WHERE sku = %s RETURNING sku
"""

#: By topic: every aggregate's id and state, ordered by id, in the shape of its view row.
STATES: Mapping[str, str] = {
    TOPIC: """
SELECT sku AS id, to_jsonb(product) || jsonb_build_object(
    'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) AS state
FROM product ORDER BY sku COLLATE "C"
""",
}


class Catalog:
    """The catalog's tables, on a cursor."""

    def __init__(self, cursor: Cursor, outbox: Outbox[ProductEvent]) -> None:
        self._cursor = cursor
        self._outbox = outbox

    def lock(self, sku: str) -> Product | None:
        """The product, which nobody else changes before the transaction ends."""
        self._cursor.execute(_LOCK, (sku,))
        row = self._cursor.fetchone()
        if row is None:
            return None
        version, archived, *values = row
        return Product(version, archived, cast("ProductUpdatedData", dict(zip(_FIELDS, values, strict=True))))

    def create(self, event: ProductCreated, answer: Answer | None) -> bool:
        """False when the sku is taken."""
        return self._outbox.change(self._cursor, _CREATE, (_rows(event),), event, answer) is not None

    def create_many(self, events: Sequence[ProductCreated]) -> list[ProductCreated]:
        """Writes the products whose sku is not taken, and gives their events, to be published in this transaction.

        No two events may be of one sku.
        """
        if not events:
            return []
        # In order of sku, so that two batches with the same products wait for each other and do not deadlock.
        events = sorted(events, key=lambda event: event.key)
        self._cursor.execute(_CREATE, (_rows(*events),))
        created = {sku for (sku,) in self._cursor.fetchall()}
        return [event for event in events if event.key in created]

    def publish(self, events: Sequence[ProductEvent], answer: Answer | None) -> None:
        """Publishes what has been written."""
        self._outbox.publish(self._cursor, events, answer)

    def update(self, event: ProductEvent, answer: Answer | None) -> None:
        """Writes a change of a locked product, and publishes it."""
        self._outbox.change(self._cursor, _UPDATE, (orjson.dumps(_row(event)).decode(), event.key), event, answer)


def _rows(*events: ProductEvent) -> str:
    return orjson.dumps([_row(event) for event in events]).decode()


def _row(event: ProductEvent) -> dict[str, Any]:
    product = rules.evolve(event)
    return {
        **product.data,
        "version": product.version,
        "archived": product.archived,
        "updated_at": iso_utc(event.occurred_at),
    }
