"""PostgreSQL connections that have each of their statements parsed and planned once."""

import select
from collections.abc import Sequence
from itertools import count
from time import perf_counter
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from kernel.metrics import DB_DURATION, Observed, histogram


def connect(url: str, name: str, connect_timeout_s: int, **settings: str) -> "PreparedConnection":
    """A connection as `name`, with these settings of PostgreSQL.

    Rows are looked up by key and by nothing else: a plan that was right for an empty table must not be kept, and one for
    any parameters is as good as one for these, which would be made anew each time.
    """
    planned = {"enable_seqscan": "off", "plan_cache_mode": "force_generic_plan"}
    options = " ".join(f"-c {setting}={value}" for setting, value in {**planned, **settings}.items())
    connection: PreparedConnection = psycopg2.connect(
        url,
        connection_factory=PreparedConnection,
        cursor_factory=_PreparedCursor,
        application_name=name,
        connect_timeout=connect_timeout_s,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,  # ms: a network that is gone is noticed while an answer is awaited, too
        options=options,
    )
    return connection


# A worker that dies, or stands still, or whose machine is gone, gives up what it has claimed within 5 s. What waits for a
# lock is tried again later; and within less time than PostgreSQL looks for deadlocks after, so the others go first.
_BRIEF = {
    "statement_timeout": "2s",
    "lock_timeout": "500ms",
    "idle_in_transaction_session_timeout": "3s",
    "tcp_keepalives_idle": "1",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
}


def connect_briefly(url: str, name: str) -> "PreparedConnection":
    """A connection for what runs beside everything else and must hold up nobody: each statement is a transaction."""
    connection = connect(url, name, 3, **_BRIEF)
    connection.autocommit = True
    return connection


class _Call(NamedTuple):
    """How a prepared statement is called, and where it is noted how long that takes."""

    text: str
    duration: Observed


class PreparedConnection(Connection):  # type: ignore[misc]  # psycopg2 has no types
    """A connection that knows what it has prepared: by statement, the call of its prepared form."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calls: dict[str, _Call] = {}
        self._poll = select.poll()
        self._poll.register(self, select.POLLIN)

    @property
    def is_gone(self) -> bool:
        """Whether the server has hung up, as when it was started anew; to be asked when no answer is awaited.

        Without this, whoever uses the connection next would be told that the database is not there.
        """
        return bool(self.closed or self._poll.poll(0))


class _PreparedCursor(Cursor):  # type: ignore[misc]  # the same
    """Prepares what has parameters, which saves PostgreSQL a fifth of its work."""

    connection: PreparedConnection

    def execute(self, query: str, params: Sequence[Any] | None = None) -> None:
        if params is None:
            super().execute(query)
            return
        calls = self.connection.calls
        if query not in calls:
            calls[query] = self._prepare(query)
        call, duration = calls[query]
        began = perf_counter()
        try:
            super().execute(call, params)
        except psycopg2.NotSupportedError:
            # A migration has changed what the statement gives; a new connection prepares it anew.
            self.connection.close()
            raise
        finally:
            duration.observe(perf_counter() - began)

    def _prepare(self, query: str) -> _Call:
        name = f"statement_{len(self.connection.calls)}"
        first, *rest = query.split("%s")
        numbered = first + "".join(f"${number}{part}" for number, part in zip(count(1), rest))
        super().execute(f"PREPARE {name} AS {numbered}")
        operation = query.split(maxsplit=1)[0].upper()
        duration = histogram(DB_DURATION).labels("postgresql", operation)
        return _Call(f"EXECUTE {name} ({', '.join('%s' for _ in rest)})", duration)
