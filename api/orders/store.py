"""Orders' SQL."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import orjson
from psycopg2.extensions import cursor as Cursor

from api.orders import rules
from api.orders.rules import Order, Price
from kernel import deadlines
from kernel.answers import Answer
from kernel.deadlines import Due
from kernel.outbox import Outbox
from kernel.refusals import Conflict
from schemas.event import iso_utc
from schemas.order import OrderEvent, OrderLine, OrderPlaced
from schemas.product import ProductEvent

#: The deadline by which an order has to be answered.
PAY_BY = "pay_by"

_PRICES = f"SELECT sku, {', '.join(Price._fields)} FROM price WHERE sku = ANY(%s) AND NOT archived"

_PRICE = ", ".join((*Price._fields, "archived"))
_COPY_PRICES = f"""
INSERT INTO price (sku, {_PRICE}) SELECT sku, {_PRICE} FROM jsonb_populate_recordset(NULL::price, %s::jsonb)
ON CONFLICT (sku) DO UPDATE SET ({_PRICE}) = (SELECT {_PRICE} FROM (SELECT excluded.*) AS new)
WHERE price.version < excluded.version
"""

# A version is looked up by a subquery for each line, never by a join: the plan is made once, when there may be few prices.
_PLACE = """
INSERT INTO orders (id, customer_id, placed_at, currency, total_minor, lines, version, status, updated_at)
SELECT %s::uuid, %s, %s::timestamptz, %s, %s::bigint, %s::jsonb, 1, 'placed', %s::timestamptz
WHERE NOT EXISTS (
    SELECT FROM unnest(%s::text[], %s::bigint[]) AS seen (sku, version)
    WHERE seen.version IS DISTINCT FROM (SELECT price.version FROM price WHERE price.sku = seen.sku)
) RETURNING id
"""

_LOCK = """
SELECT id::text, version, status, customer_id, placed_at, currency, total_minor, jsonb_array_length(lines)
FROM orders WHERE id = ANY(%s::text[]::uuid[]) ORDER BY id FOR UPDATE
"""

_CHANGE = (
    "UPDATE orders SET version = %s, status = %s, reason = %s, updated_at = %s WHERE id = %s RETURNING id"
)

_CHANGE_MANY = """
UPDATE orders SET version = new.version, status = new.status, reason = new.reason, updated_at = new.updated_at
FROM unnest(%s::text[]::uuid[], %s::bigint[], %s::text[], %s::text[], %s::timestamptz[])
    AS new (id, version, status, reason, updated_at)
WHERE orders.id = new.id
"""

_READ = """
SELECT id::text, version, customer_id, status, reason, currency, total_minor, lines::text, placed_at,
       updated_at
FROM orders WHERE id = %s
"""

#: What its reactions have done: the copy of the catalog, and the orders that no longer wait.
COPIED = "SELECT sku, to_jsonb(price)::text FROM price"
SETTLED = "SELECT id::text, jsonb_build_object('settled', true)::text FROM orders WHERE status <> 'placed'"

#: How many orders wait, and for how long the first of them has: found by their deadlines, which are few.
UNSETTLED = f"SELECT count(*) FROM deadline WHERE name = '{PAY_BY}'"
OLDEST_UNSETTLED = f"""
SELECT coalesce(extract(epoch FROM now() - (SELECT placed_at FROM orders WHERE id = (
    SELECT aggregate_id::uuid FROM deadline WHERE name = '{PAY_BY}' ORDER BY due_at LIMIT 1))), 0)
"""

#: By topic: every aggregate's id and state, ordered by id, in the shape of its view row.
STATES: Mapping[str, str] = {
    "marea.order": """
SELECT id::text AS id, jsonb_build_object(
    'id', id, 'version', version, 'customer_id', customer_id, 'status', status, 'reason', reason,
    'currency', currency, 'total_minor', total_minor, 'lines', lines,
    'placed_at', to_char(placed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'updated_at', to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) AS state
FROM orders ORDER BY orders.id
""",
}

_LINE = tuple(OrderLine.__annotations__)


class PricesMoved(Conflict):
    """An order can't be placed at these prices: one of them has changed."""

    def __init__(self) -> None:
        super().__init__("A price has changed just now: send the order again.")


class Orders:
    """Orders' tables, on a cursor."""

    def __init__(self, cursor: Cursor, outbox: Outbox[OrderEvent]) -> None:
        self._cursor = cursor
        self._outbox = outbox

    def prices(self, skus: Collection[str]) -> dict[str, Price]:
        """The prices of those products that can be ordered."""
        self._cursor.execute(_PRICES, (list(skus),))
        return {sku: Price(*price) for sku, *price in self._cursor.fetchall()}

    def copy_prices(self, products: Sequence[ProductEvent]) -> None:
        """Makes the copy say what the events say, unless it knows later ones; no two may be of one product."""
        rows = [
            {**event.data, "version": event.version, "archived": event.type == "ProductArchived"}
            for event in products
        ]
        self._cursor.execute(_COPY_PRICES, (orjson.dumps(rows).decode(),))

    def place(
        self, event: OrderPlaced, pay_by: datetime, answer: Answer | None, prices: Mapping[str, Price]
    ) -> None:
        """Writes a new order, which waits for its answer until `pay_by`, and publishes it.

        Raises PricesMoved, having done nothing, when `prices`, by which it was decided, are not those of now.
        """
        data = event.data
        params = (
            data["order_id"],
            data["customer_id"],
            data["placed_at"],
            data["currency"],
            data["total_minor"],
            orjson.dumps(data["lines"]).decode(),
            event.occurred_at,
            list(prices),
            [price.version for price in prices.values()],
        )
        if not self._outbox.change(self._cursor, _PLACE, params, event, answer, Due(event.key, PAY_BY, pay_by)):
            raise PricesMoved

    def clear_pay_by(self, order_ids: Collection[str]) -> None:
        """The orders wait no longer; to be called before they are locked, as kernel/deadlines.py says."""
        deadlines.clear(self._cursor, PAY_BY, order_ids)

    def lock(self, order_ids: Collection[str]) -> dict[str, Order]:
        """The orders that exist, which nobody else changes before the transaction ends."""
        self._cursor.execute(_LOCK, (list(order_ids),))
        return {row[0]: Order(*row) for row in self._cursor.fetchall()}

    def change(self, order: Order, event: OrderEvent, answer: Answer | None) -> None:
        """Writes what happened to a locked order, and publishes it."""
        self._outbox.change(self._cursor, _CHANGE, (*_changes(order, event), order.id), event, answer)

    def change_many(self, changes: Collection[tuple[Order, OrderEvent]]) -> None:
        """As `change`, for several orders, each once."""
        if changes:
            rows = [(order.id, *_changes(order, event)) for order, event in changes]
            self._cursor.execute(_CHANGE_MANY, _columns(rows))
            self._outbox.publish(self._cursor, [event for _, event in changes])

    def read(self, order_id: str) -> dict[str, Any]:
        """An order that exists, in the shape of its view row."""
        self._cursor.execute(_READ, (order_id,))
        row = self._cursor.fetchone()
        assert row is not None, order_id
        fields = ("id", "version", "customer_id", "status", "reason", "currency", "total_minor")
        *values, lines, placed_at, updated_at = row
        return {
            **dict(zip(fields, values, strict=True)),
            "lines": _lines(lines),
            "placed_at": iso_utc(placed_at),
            "updated_at": iso_utc(updated_at),
        }


def _changes(order: Order, event: OrderEvent) -> tuple[Any, ...]:
    after = rules.evolve(order, event)
    reason = event.data["reason"] if event.type == "OrderRejected" or event.type == "OrderCancelled" else None
    return after.version, after.status, reason, event.occurred_at


def _lines(text: str) -> list[OrderLine]:
    """Lines with their fields in the order that events have them in, which jsonb does not keep."""
    return [cast("OrderLine", {field: line[field] for field in _LINE}) for line in orjson.loads(text)]


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
