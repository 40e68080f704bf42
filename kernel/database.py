"""A service's connections to its PostgreSQL: one a thread, opened when needed and anew after one is gone."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from psycopg2.extensions import cursor as Cursor

from kernel.postgres import PreparedConnection, connect

# No command waits longer than this for a lock, or for a whole statement: its sender is told to try again.
_TIMEOUTS = {
    "statement_timeout": "5s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "10s",
}


#: What a service keeps there: its commands, on a cursor.
Store = TypeVar("Store")


class Database(Generic[Store]):
    """The database of one service, as the service's role. Safe to share between threads.

    `open_store` makes the service's store on a cursor. Nothing is connected to before the first use.

    When it can't be reached, or a lock or a statement takes too long, psycopg2.OperationalError or
    InterfaceError is raised, and of the statement or transaction either nothing has taken effect or all.
    """

    def __init__(self, url: str, name: str, open_store: Callable[[Cursor], Store]) -> None:
        self._url = url
        self._name = name
        self._open_store = open_store
        self._thread = threading.local()

    @contextmanager
    def statements(self) -> Iterator[Store]:
        """The store, each statement of which is a transaction of its own."""
        with self._session().cursor() as cursor:
            yield self._open_store(cursor)

    @contextmanager
    def transaction(self) -> Iterator[Store]:
        """The store, all statements of which are one transaction; an exception undoes them."""
        with self._session() as session, session.cursor() as cursor:
            yield self._open_store(cursor)

    def ping(self) -> None:
        """Returns when the database answers."""
        with self._session().cursor() as cursor:
            cursor.execute("SELECT 1")

    def _session(self) -> PreparedConnection:
        session: PreparedConnection | None = getattr(self._thread, "session", None)
        if session is None or session.is_gone:
            session = connect(self._url, self._name, 3, **_TIMEOUTS)
            session.autocommit = True
            self._thread.session = session
        return session
