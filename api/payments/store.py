"""Payments' SQL."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg2.extensions import cursor as Cursor

from api.payments import rules
from kernel import audit, tasks, webhooks
from kernel.aggregates import Aggregates, states_query
from kernel.audit import Note
from kernel.outbox import Outbox
from kernel.tasks import Task
from schemas.payment import PaymentEvent

#: The kind of the tasks that ask the provider.
OPERATION = "payments.operation"

#: What its reactions have done: what each payment knows of its order and of its parcels.
DUE = """
SELECT id::text, jsonb_build_object('is_due', true)::text FROM payment WHERE notes ? 'order'
"""
PACKED = """
SELECT id::text, jsonb_build_object('fulfilment', notes -> 'fulfilment')::text FROM payment
WHERE notes -> 'fulfilment' -> 'packed' <> '{}' OR (notes -> 'fulfilment' ->> 'all_gone')::boolean
"""

#: By topic: every aggregate's id and state, ordered by id, in the shape of what its view is made of.
STATES: Mapping[str, str] = {"marea.payment": states_query("payment")}

#: For `verify`: what each payment knows of its operations, with the ids by which the provider knows them, and what is under way.
BOOKS: Mapping[str, str] = {
    "money": """
SELECT id::text, jsonb_build_object('id', id, 'version', version,
    'operations', (SELECT jsonb_agg(each || jsonb_build_object('operation_id', id || '.' || (each ->> 'number'), 'currency', state -> 'currency'))
        FROM jsonb_array_elements(state -> 'operations') AS each),
    'written_off_minor', state -> 'written_off_minor', 'cases', coalesce(jsonb_array_length(state -> 'cases'), 0),
    'asked', id || '.' || (notes -> 'asked' ->> 'number'), 'tasks', coalesce(kinds, '[]'))::text
FROM payment LEFT JOIN (
    SELECT arguments ->> 'order_id' AS order_id, jsonb_agg(kind) AS kinds FROM task WHERE state <> 'done' GROUP BY 1
) AS asked ON order_id = id::text
"""
}

#: For those who watch: operations of which nobody knows what has become, and for how long the first of them; and cases.
UNKNOWN = "SELECT count(*) FROM payment WHERE state ->> 'status' = 'unknown'"
OLDEST_UNKNOWN = "SELECT coalesce(extract(epoch FROM now() - min(updated_at)), 0) FROM payment WHERE state ->> 'status' = 'unknown'"
CASES = "SELECT coalesce(sum(jsonb_array_length(state -> 'cases')), 0) FROM payment WHERE state -> 'cases' <> '[]'"


class Payments:
    """Payments' tables, on a cursor."""

    def __init__(self, cursor: Cursor, outbox: Outbox[PaymentEvent]) -> None:
        self._cursor = cursor
        self.payments: Aggregates[rules.State, Any] = Aggregates(cursor, outbox, "payment", "PaymentSettled")

    def ask(self, wanted: Sequence[Task], now: datetime) -> None:
        """Asks for calls of the provider, after the commit."""
        tasks.ask(self._cursor, wanted, now)

    def done(self, task_ids: Collection[str], now: datetime) -> Mapping[str, str | None]:
        """These tasks have their answers: see kernel/tasks.py. To be called before their payments are locked."""
        return tasks.done(self._cursor, task_ids, now)

    def retry(self, task_id: str, now: datetime) -> bool:
        """Asks anew for a call that was given up; False when it was not."""
        return tasks.retry(self._cursor, task_id, now)

    def note(self, note: Note) -> None:
        """Keeps what somebody has done by hand."""
        audit.note(self._cursor, note)

    def keep_webhook(self, id_: str, about: str, body: bytes, now: datetime) -> bool:
        """Keeps what the provider has told; False when it has been kept before."""
        return webhooks.keep(self._cursor, id_, about, body, now)
