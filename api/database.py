"""A service's connections to its PostgreSQL: one a thread, opened when needed and anew after one broke."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from streams import settings

# No command waits longer than this for a lock, or for a whole statement: its sender is told to try again.
# Rows are looked up by key and by nothing else: a plan that was right for an empty table must not be kept.
_OPTIONS = " ".join(
    f"-c {option}"
    for option in (
        "statement_timeout=5s",
        "lock_timeout=3s",
        "idle_in_transaction_session_timeout=10s",
        "enable_seqscan=off",
    )
)


class _Session(Connection):  # type: ignore[misc]  # psycopg2 has no types
    """A connection that knows what it has prepared: by statement, the call of its prepared form."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calls: dict[str, str] = {}


class _PreparedCursor(Cursor):  # type: ignore[misc]  # the same
    """Has each statement planned once a connection, which saves PostgreSQL a fifth of its work."""

    connection: _Session

    def execute(self, query: str, params: Sequence[Any] | None = None) -> None:
        if params is None:
            super().execute(query)
            return
        calls = self.connection.calls
        if query not in calls:
            calls[query] = self._prepare(query)
        super().execute(calls[query], params)

    def _prepare(self, query: str) -> str:
        name = f"statement_{len(self.connection.calls)}"
        first, *rest = query.split("%s")
        numbered = first + "".join(f"${number}{part}" for number, part in zip(count(1), rest))
        super().execute(f"PREPARE {name} AS {numbered}")
        return f"EXECUTE {name} ({', '.join('%s' for _ in rest)})"


class Database:
    """The database of one service, as the service's role. Safe to share between threads.

    When it can't be reached, or a lock or a statement takes too long, psycopg2.OperationalError or
    InterfaceError is raised, and of the statement or transaction either nothing has taken effect or all.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._thread = threading.local()

    @contextmanager
    def statements(self) -> Iterator[Cursor]:
        """A cursor on which each statement is a transaction of its own."""
        with self._session().cursor() as cursor:
            yield cursor

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """A cursor on which all statements are one transaction; an exception undoes them."""
        with self._session() as session, session.cursor() as cursor:
            yield cursor

    def _session(self) -> _Session:
        session: _Session | None = getattr(self._thread, "session", None)
        if session is None or session.closed:
            session = psycopg2.connect(
                settings.database_url(self._service),
                connection_factory=_Session,
                cursor_factory=_PreparedCursor,
                application_name=self._service,
                connect_timeout=3,
                keepalives_idle=5,
                keepalives_interval=2,
                keepalives_count=3,
                options=_OPTIONS,
            )
            session.autocommit = True
            self._thread.session = session
        return session
