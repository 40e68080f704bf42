"""A service's connections to its PostgreSQL: one a thread, opened when needed and anew after one is gone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg2.extensions import cursor as Cursor

from kernel import settings
from kernel.postgres import PreparedConnection, connect

# No command waits longer than this for a lock, or for a whole statement: its sender is told to try again.
_TIMEOUTS = {
    "statement_timeout": "5s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "10s",
}


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

    def _session(self) -> PreparedConnection:
        session: PreparedConnection | None = getattr(self._thread, "session", None)
        if session is None or session.is_gone:
            session = connect(settings.database_url(self._service), self._service, 3, **_TIMEOUTS)
            session.autocommit = True
            self._thread.session = session
        return session
