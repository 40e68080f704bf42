"""Shipping's SQL."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg2.extensions import cursor as Cursor

from api.shipping import returns, rules
from kernel import audit, deadlines, tasks, webhooks
from kernel.aggregates import Aggregates, states_query
from kernel.audit import Note
from kernel.deadlines import Due
from kernel.outbox import Outbox
from kernel.tasks import Task
from schemas.fulfilment import FulfilmentEvent
from schemas.returns import ReturnsEvent

#: The deadlines by which the next parcel should have arrived, and the next return has to have gone on.
ARRIVE_BY, RETURN_BY = "arrive_by", "return_by"
#: The kinds of the tasks that ask the carrier: for a label, and to take a parcel.
LABEL, HAND_OVER = "shipping.label", "shipping.hand_over"

_LABEL = "INSERT INTO label (tracking, order_id, shipment) VALUES (%s, %s::uuid, %s) ON CONFLICT (tracking) DO NOTHING"
_LABELLED = "SELECT order_id::text, shipment FROM label WHERE tracking = %s"


def known(table: str, name: str) -> str:
    """What is known of somebody else."""
    return f"SELECT id::text, jsonb_build_object('{name}', notes -> '{name}')::text FROM {table} WHERE notes ? '{name}'"


#: What its reactions have done: what is known of payments, which orders it has planned, which requests to stop units it has answered.
PAID = f"""{known("fulfilment", "payment")} AND notes -> 'payment' <> '{{"captured": [], "is_declined": false}}'"""
PLANNED = "SELECT id::text, jsonb_build_object('is_planned', true)::text FROM fulfilment WHERE version > 0"
ANSWERED = """
SELECT id::text, jsonb_build_object('answered', state -> 'answered' -> 'number')::text FROM fulfilment
WHERE state -> 'answered' <> 'null'
"""
EXCHANGED = """
SELECT each ->> 'exchange_id', jsonb_build_object('is_known', true)::text
FROM returns, jsonb_array_elements(state -> 'returns') AS each WHERE each ->> 'exchange_id' IS NOT NULL
"""

#: By topic: every aggregate's id and state, ordered by id, in the shape of what its view is made of.
STATES: Mapping[str, str] = {"marea.fulfilment": states_query("fulfilment"), "marea.returns": states_query("returns")}

#: For `verify`: what of each order is in which parcel, and what goes on by itself.
BOOKS: Mapping[str, str] = {
    "parcels": """
SELECT id::text, jsonb_build_object('id', id, 'version', version, 'shipments', state -> 'shipments',
    'cases', coalesce(jsonb_array_length(state -> 'cases'), 0), 'deadlines', coalesce(names, '[]'), 'tasks', coalesce(kinds, '[]'))::text
FROM fulfilment LEFT JOIN (SELECT aggregate_id, jsonb_agg(name) AS names FROM deadline GROUP BY aggregate_id) AS due
    ON aggregate_id = id::text
LEFT JOIN (
    SELECT arguments ->> 'order_id' AS order_id, jsonb_agg(kind) AS kinds FROM task WHERE state <> 'done' GROUP BY 1
) AS asked ON order_id = id::text
"""
}

#: For those who watch.
CASES = "SELECT coalesce(sum(jsonb_array_length(state -> 'cases')), 0) FROM fulfilment WHERE state -> 'cases' <> '[]'"


class Shipping:
    """Shipping's tables, on a cursor."""

    def __init__(self, cursor: Cursor, outbox: Outbox[FulfilmentEvent | ReturnsEvent]) -> None:
        self._cursor = cursor
        self.fulfilments: Aggregates[rules.State, Any] = Aggregates(cursor, outbox, "fulfilment", "ShipmentsPlanned")
        self.returns: Aggregates[returns.State, Any] = Aggregates(cursor, outbox, "returns", "ReturnRequested")

    def ask(self, wanted: Sequence[Task], now: datetime) -> None:
        """Asks for calls of the carrier, after the commit."""
        if wanted:
            tasks.ask(self._cursor, wanted, now)

    def set(self, dues: Collection[Due]) -> None:
        """Sets deadlines, or moves them."""
        for due in dues:
            deadlines.set_deadline(self._cursor, due)

    def keep_label(self, tracking: str, order_id: str, shipment: int) -> None:
        """Notes whose parcel the carrier's number is."""
        self._cursor.execute(_LABEL, (tracking, order_id, shipment))

    def labelled(self, tracking: str) -> tuple[str, int] | None:
        """The order and the number of the parcel with that number of the carrier's; None when it is not ours."""
        self._cursor.execute(_LABELLED, (tracking,))
        row: tuple[str, int] | None = self._cursor.fetchone()
        return row

    def note(self, note: Note) -> None:
        """Keeps what somebody has done by hand."""
        audit.note(self._cursor, note)

    def keep_webhook(self, id_: str, about: str, body: bytes, now: datetime) -> bool:
        """Keeps what the carrier has told; False when it has been kept before."""
        return webhooks.keep(self._cursor, id_, about, body, now)
