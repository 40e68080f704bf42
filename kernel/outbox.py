"""The one way out: nothing else writes to an outbox, and nothing else publishes."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Generic

from psycopg2.extensions import cursor as Cursor
from typing_extensions import TypeVar

from kernel import answers
from kernel.answers import KEEP, Answer, counted_once
from kernel.deadlines import SET_IF, Due
from kernel.limits import MAX_EVENT_BYTES, MAX_KEY_BYTES
from kernel.refusals import TooLarge
from schemas.codec import TYPES, Codec
from schemas.event import Event, Topic

Event_contra = TypeVar("Event_contra", bound=Event, contravariant=True, default=Event)

_COLUMNS = "id, aggregatetype, aggregateid, type, version, payload, traceparent, occurred_at"

_PUBLISH = f"""
INSERT INTO outbox ({_COLUMNS})
SELECT * FROM unnest(
    %s::text[]::uuid[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bytea[], %s::text[],
    %s::timestamptz[])
"""

_PUBLISH_AND_KEEP = f"WITH kept AS ({KEEP}) {_PUBLISH}"

_CHANGE = f"""
WITH change AS ({{change}}),
published AS (
    INSERT INTO outbox ({_COLUMNS})
    SELECT %s::uuid, %s::text, %s::text, %s::text, %s::bigint, %s::bytea, %s::text, %s::timestamptz
    WHERE EXISTS (SELECT FROM change)
)
{{and_more}} SELECT * FROM change
"""
_IF_CHANGED = "EXISTS (SELECT FROM change)"
_AND_KEEP = f", kept AS ({KEEP} WHERE {_IF_CHANGED})"
_AND_SET = f", due AS ({SET_IF.format(condition=_IF_CHANGED)})"


class NotOwned(ValueError):
    """An event of a topic that another service owns: only that one may publish it."""


class Outbox(Generic[Event_contra]):
    """The outbox of one service, for the events of the topics that it owns.

    `codec` gives what encodes them, and is first asked when there is one to encode. Both ways to publish raise
    NotOwned, and TooLarge for an event that can't be carried; then nothing has been written.
    """

    def __init__(self, service: str, topics: Collection[Topic[Event_contra]], codec: Callable[[], Codec]) -> None:
        self._service = service
        self._topics = frozenset[str](topics)
        self._codec = codec

    def publish(self, cursor: Cursor, events: Sequence[Event_contra], answer: Answer | None = None) -> None:
        """Publishes events with the caller's transaction: all of them when it commits, else none.

        Keeps the answer, if there is one, with them; see `change`.
        """
        if not events:
            return
        columns = [list(column) for column in zip(*map(self._row, events), strict=True)]
        if answer is None:
            cursor.execute(_PUBLISH, columns)
            return
        with counted_once():
            cursor.execute(_PUBLISH_AND_KEEP, (*answers.params(answer), *columns))

    def change(
        self,
        cursor: Cursor,
        sql: str,
        params: Sequence[Any],
        event: Event_contra,
        answer: Answer | None = None,
        due: Due | None = None,
    ) -> tuple[Any, ...] | None:
        """Changes state and publishes the event; keeps the answer and sets the deadline, if there are. All in one
        statement: one round trip commits it.

        `sql` changes one aggregate and ends in RETURNING. Gives the row that it returns; None when it changed
        nothing, and then nothing else is done. Raises AlreadyAnswered when the answer's command has taken effect
        before, and Conflict when it does so right now; nothing has changed then.
        """
        statement = _CHANGE.format(change=sql, and_more=(_AND_KEEP if answer else "") + (_AND_SET if due else ""))
        more = (*(answers.params(answer) if answer else ()), *(due or ()))
        with counted_once():
            cursor.execute(statement, (*params, *self._row(event), *more))
        row: tuple[Any, ...] | None = cursor.fetchone()
        return row

    def _row(self, event: Event_contra) -> tuple[Any, ...]:
        type_ = TYPES[event.type]
        if type_.topic not in self._topics:
            raise NotOwned(f"{self._service} does not own {type_.topic}, so it can't publish {event.type}")
        payload = self._codec().encode(event.type, event.data)
        _check_size(event, payload)
        return (
            event.id,
            type_.aggregate,
            event.key,
            event.type,
            event.version,
            payload,
            event.traceparent,
            event.occurred_at,
        )


def _check_size(event: Event, payload: bytes) -> None:
    if len(payload) > MAX_EVENT_BYTES:
        raise TooLarge(
            f"This makes an event of {len(payload):,} bytes ({event.type}), and {MAX_EVENT_BYTES:,} is the most that can"
            " be carried: ask for less at once."
        )
    if len(event.key.encode()) > MAX_KEY_BYTES:
        raise TooLarge(f"An id can have {MAX_KEY_BYTES} bytes, and {event.key[:20]}... has more.")
