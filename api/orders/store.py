"""Orders' SQL."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import orjson
from psycopg2.extensions import cursor as Cursor

from api.orders import exchanges, rules
from api.orders.placing import Price
from kernel import aggregates, audit, deadlines
from kernel.aggregates import Aggregates, Kept, dumps, states_query
from kernel.answers import Answer
from kernel.audit import Note
from kernel.deadlines import Due
from kernel.outbox import Outbox
from kernel.refusals import Conflict
from kernel.steps import step_of
from schemas.exchange import ExchangeEvent
from schemas.order import OrderEvent, OrderLine, OrderPlaced
from schemas.product import ProductEvent

#: The deadlines by which an order has to be reserved and paid for, a parcel that is held, and an exchange come back.
PAY_BY, HOLD_BY, EXCHANGE_BY = "pay_by", "hold_by", "exchange_by"

_PRICES = f"SELECT sku, {', '.join(Price._fields)} FROM price WHERE sku = ANY(%s) AND NOT archived"

_PRICE = ", ".join((*Price._fields, "archived"))
_COPY_PRICES = f"""
INSERT INTO price (sku, {_PRICE}) SELECT sku, {_PRICE} FROM jsonb_populate_recordset(NULL::price, %s::jsonb)
ON CONFLICT (sku) DO UPDATE SET ({_PRICE}) = (SELECT {_PRICE} FROM (SELECT excluded.*) AS new)
WHERE price.version < excluded.version
"""

# A version is looked up by a subquery for each line, never by a join: the plan is made once, when there may be few prices.
_PLACE = """
INSERT INTO orders (id, version, state, lines, notes, steps, updated_at)
SELECT %s::uuid, 1, %s::jsonb, %s::jsonb, '{}', %s::jsonb, %s::timestamptz
WHERE NOT EXISTS (
    SELECT FROM unnest(%s::text[], %s::bigint[]) AS seen (sku, version)
    WHERE seen.version IS DISTINCT FROM (SELECT price.version FROM price WHERE price.sku = seen.sku)
) RETURNING id
"""

_LINES = "SELECT lines::text FROM orders WHERE id = %s"

_ADD_EXCHANGE = """
INSERT INTO exchange (id, version, state, notes, steps, updated_at)
VALUES (%s::uuid, 1, %s::jsonb, '{}', %s::jsonb, %s::timestamptz) RETURNING id
"""

#: What its reactions have done: the copy of the catalog.
COPIED = "SELECT sku, to_jsonb(price)::text FROM price"
#: The exchanges whose decision the order that gives knows; those that have failed; what each knows of its return.
CREDITS_KNOWN = """
SELECT given.key, jsonb_build_object('is_known', true)::text FROM orders, jsonb_each(orders.notes -> 'given') AS given
"""
FAILED_EXCHANGES = """
SELECT exchange.id::text, jsonb_build_object('step', exchange.state ->> 'step')::text FROM exchange
JOIN orders ON orders.id = (exchange.state ->> 'new_order_id')::uuid
WHERE orders.state ->> 'status' IN ('rejected', 'undoing', 'cancelled')
"""
RETURNS_KNOWN = """
SELECT id::text, jsonb_build_object('is_over', true)::text FROM exchange
WHERE notes -> 'returned' ->> 'status' IN ('accepted', 'refunded', 'rejected', 'cancelled', 'expired')
"""

#: How many orders wait, and for how long the first of them has: found by their deadlines, which are few.
UNSETTLED = f"SELECT count(*) FROM deadline WHERE name = '{PAY_BY}'"
OLDEST_UNSETTLED = f"""
SELECT coalesce(extract(epoch FROM now() - (SELECT (state ->> 'placed_at')::timestamptz FROM orders WHERE id = (
    SELECT aggregate_id::uuid FROM deadline WHERE name = '{PAY_BY}' ORDER BY due_at LIMIT 1))), 0)
"""

#: By topic: every aggregate's id and state, ordered by id. Of an order that is what its view is made of.
STATES: Mapping[str, str] = {
    "marea.order": states_query("orders", "'lines', lines,"),
    "marea.exchange": states_query("exchange"),
}

_GIVEN_UP = " + ".join(f"(state ->> '{name}_minor')::bigint" for name in ("goodwill", "returned", "lost", "credit_got"))
#: For `verify`: what each order is to be paid, and what of that nobody pays; the deadlines by which it goes on.
BOOKS: Mapping[str, str] = {
    "due": f"""
SELECT id::text, jsonb_build_object('id', id, 'version', version, 'status', state -> 'status',
    'due_minor', state -> 'due_minor', 'given_up_minor', {_GIVEN_UP}, 'deadlines', coalesce(names, '[]'))::text
FROM orders LEFT JOIN (SELECT aggregate_id, jsonb_agg(name) AS names FROM deadline GROUP BY aggregate_id) AS due
    ON aggregate_id = id::text
"""
}

_LINE = tuple(OrderLine.__annotations__)


def known(name: str, nothing: Any = None) -> str:
    """What every order knows of somebody else, unless that is `nothing`."""
    kept = f"SELECT id::text, jsonb_build_object('{name}', notes -> '{name}')::text FROM orders WHERE notes ? '{name}'"
    return kept if nothing is None else f"{kept} AND notes -> '{name}' <> '{dumps(nothing)}'::jsonb"


class PricesMoved(Conflict):
    """An order can't be placed at these prices: one of them has changed."""

    def __init__(self) -> None:
        super().__init__("A price has changed just now: send the order again.")


class Orders:
    """Orders' tables, on a cursor."""

    def __init__(self, cursor: Cursor, outbox: Outbox[OrderEvent | ExchangeEvent]) -> None:
        self._cursor = cursor
        self._outbox = outbox
        self.orders: Aggregates[rules.State, Any] = Aggregates(cursor, outbox, "orders", "OrderConfirmed", _state_after)
        self.exchanges: Aggregates[exchanges.State, Any] = Aggregates(cursor, outbox, "exchange", "ExchangeRequested")

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

    def place(self, event: OrderPlaced, answer: Answer | None, prices: Mapping[str, Price]) -> None:
        """Writes a new order, which waits until its `pay_by`, and publishes it.

        Raises PricesMoved, having done nothing, when `prices`, by which it was decided, are not those of now.
        """
        params = (
            event.key,
            dumps(_state_after(event)),
            orjson.dumps(event.data["lines"]).decode(),
            dumps([step_of(event)]),
            event.occurred_at,
            list(prices),
            [price.version for price in prices.values()],
        )
        due = Due(event.key, PAY_BY, event.data["pay_by"])
        if not self._outbox.change(self._cursor, _PLACE, params, event, answer, due):
            raise PricesMoved

    def add_exchange(self, event: ExchangeEvent, by: Due, answer: Answer | None) -> None:
        """Writes a new exchange, which has until then, and publishes it."""
        params = (event.key, dumps(event.data), dumps([step_of(event)]), event.occurred_at)
        self._outbox.change(self._cursor, _ADD_EXCHANGE, params, event, answer, by)

    def clear(self, name: str, ids: Collection[str]) -> None:
        """These wait no longer; to be called before they are locked, as kernel/deadlines.py says."""
        if ids:
            deadlines.clear(self._cursor, name, ids)

    def set(self, dues: Collection[Due]) -> None:
        """Sets deadlines, or moves them; before their aggregates are locked, too."""
        for due in dues:
            deadlines.set_deadline(self._cursor, due)

    def shown(self, kept: Kept[rules.State]) -> dict[str, Any]:
        """A locked order in the shape of STATES."""
        self._cursor.execute(_LINES, (kept.id,))
        [lines] = self._cursor.fetchone()
        return aggregates.shown(kept, lines=_lines(lines))

    def note(self, note: Note) -> None:
        """Keeps what somebody has done by hand."""
        audit.note(self._cursor, note)


def _state_after(event: OrderEvent) -> rules.State:
    return rules.evolve(event).state


def _lines(text: str) -> list[OrderLine]:
    """Lines with their fields in the order that events have them in, which jsonb does not keep."""
    return [cast("OrderLine", {field: line[field] for field in _LINE}) for line in orjson.loads(text)]
