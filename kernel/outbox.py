"""The one way out: nothing else writes to an outbox, and nothing else publishes."""

from collections.abc import Callable, Sequence
from typing import Any

from psycopg2.extensions import cursor as Cursor

from schemas.codec import TYPES, Codec
from schemas.event import Event

_COLUMNS = "id, aggregatetype, aggregateid, type, version, payload, traceparent, occurred_at"

_PUBLISH = f"""
INSERT INTO outbox ({_COLUMNS})
SELECT * FROM unnest(
    %s::text[]::uuid[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bytea[], %s::text[],
    %s::timestamptz[])
"""

_CHANGE = f"""
WITH change AS ({{change}}),
published AS (
    INSERT INTO outbox ({_COLUMNS})
    SELECT %s::uuid, %s::text, %s::text, %s::text, %s::bigint, %s::bytea, %s::text, %s::timestamptz
    WHERE EXISTS (SELECT FROM change)
)
SELECT * FROM change
"""


class Outbox:
    """Publishes events; `codec` gives what encodes them, and is first asked when there is one to encode."""

    def __init__(self, codec: Callable[[], Codec]) -> None:
        self._codec = codec

    def publish(self, cursor: Cursor, events: Sequence[Event]) -> None:
        """Publishes events with the caller's transaction: all of them when it commits, else none."""
        if events:
            encoder = self._codec()
            rows = [_row(event, encoder) for event in events]
            cursor.execute(_PUBLISH, [list(column) for column in zip(*rows, strict=True)])

    def change(self, cursor: Cursor, sql: str, params: Sequence[Any], event: Event) -> tuple[Any, ...] | None:
        """Changes state and publishes the event in one statement, so that one round trip commits both.

        `sql` changes one aggregate and ends in RETURNING. Gives the row that it returns; None when it changed
        nothing, and then nothing is published.
        """
        cursor.execute(_CHANGE.format(change=sql), (*params, *_row(event, self._codec())))
        row: tuple[Any, ...] | None = cursor.fetchone()
        return row


def _row(event: Event, encoder: Codec) -> tuple[Any, ...]:
    return (
        event.id,
        TYPES[event.type].aggregate,
        event.key,
        event.type,
        event.version,
        encoder.encode(event.type, event.data),
        event.traceparent,
        event.occurred_at,
    )
