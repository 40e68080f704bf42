"""A service's connections to its PostgreSQL: few, shared by its threads, opened when needed and anew after one is gone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue
from typing import Generic, TypeVar

from psycopg2.errors import IdleInTransactionSessionTimeout, ReadOnlySqlTransaction
from psycopg2.extensions import cursor as Cursor

from kernel import answers
from kernel.answers import Answer, Command
from kernel.postgres import PreparedConnection, connect
from kernel.refusals import Unavailable

#: A connection that is no more, though it does not say so yet; and one to a server that only reads.
_GIVEN_UP = (IdleInTransactionSessionTimeout, ReadOnlySqlTransaction)

# No command waits longer than this for a lock, or for a whole statement: its sender is told to try again.
_TIMEOUTS = {
    "statement_timeout": "5s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "10s",
}
#: Connections of a process: more would only wait for each other on the cores that a machine has.
CONNECTIONS = 8
#: Seconds that a command waits for one of them.
_CONNECTION_WITHIN_S = 3.0

#: What a service keeps there: its commands, on a cursor.
Store = TypeVar("Store")


class Database(Generic[Store]):
    """The database of one service, as the service's role. Safe to share between threads.

    `open_store` makes the service's store on a cursor. `prepare` fetches what commands need beside the database. Nothing is
    connected to before the first use.

    When it can't be reached, or a lock or a statement takes too long, psycopg2.OperationalError or
    InterfaceError is raised, and of the statement or transaction either nothing has taken effect or all. When all
    connections stay busy, Unavailable is raised.
    """

    def __init__(
        self, url: str, name: str, open_store: Callable[[Cursor], Store], prepare: Callable[[], object] = lambda: None
    ) -> None:
        self._url = url
        self._name = name
        self._open_store = open_store
        self._prepare = prepare
        # The last one back is the first out: when little happens, few are kept open.
        self._free: LifoQueue[PreparedConnection | None] = LifoQueue()
        for _ in range(CONNECTIONS):
            self._free.put(None)

    @contextmanager
    def statements(self) -> Iterator[Store]:
        """The store, each statement of which is a transaction of its own."""
        with self._session() as session, session.cursor() as cursor:
            yield self._open_store(cursor)

    @contextmanager
    def transaction(self) -> Iterator[Store]:
        """The store, all statements of which are one transaction; an exception undoes them."""
        with self._session() as session, session, session.cursor() as cursor:
            yield self._open_store(cursor)

    def answer(self, command: Command) -> Answer | None:
        """What was answered when the command took effect; None when it has not, or so long ago that it is forgotten."""
        with self._session() as session, session.cursor() as cursor:
            return answers.find(cursor, command)

    def ping(self) -> None:
        """Returns when the database answers, and there is what commands need: else the first would wait for it, with locks."""
        with self._session() as session, session.cursor() as cursor:
            cursor.execute("SELECT 1")
        self._prepare()

    @contextmanager
    def _session(self) -> Iterator[PreparedConnection]:
        """A connection that nobody else has meanwhile."""
        try:
            session = self._free.get(timeout=_CONNECTION_WITHIN_S)
        except Empty:
            raise Unavailable("The service is too busy: try again.") from None
        try:
            if session is None or session.is_gone:
                session = self._connect()
            yield session
        except _GIVEN_UP:
            if session:
                session.close()
            raise
        finally:
            self._free.put(session)

    def _connect(self) -> PreparedConnection:
        session = connect(self._url, self._name, 3, **_TIMEOUTS)
        session.autocommit = True
        return session
