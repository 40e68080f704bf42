"""A company's database: SQLite, so that it is a process of its own and needs nothing of ours."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

#: For the twins of tests, which keep nothing.
IN_MEMORY = ":memory:"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS clock (ahead_s REAL NOT NULL);
CREATE TABLE IF NOT EXISTS script (prefix TEXT, kind TEXT, script TEXT NOT NULL, PRIMARY KEY (prefix, kind)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tries (key TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS delivery (
    number INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL, due_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS delivery_due ON delivery (due_at);
"""


class Store:
    """One connection, for one thread. What a transaction has committed survives SIGKILL."""

    def __init__(self, path: str, schema: str) -> None:
        """`schema` makes what is missing beside the tables that all have."""
        self.sql = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        self.sql.row_factory = sqlite3.Row
        # The system has what is written, whatever becomes of the process; only of a power cut it would lose the last.
        self.sql.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {_SCHEMA} {schema}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self.sql.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.sql.execute("ROLLBACK")
            raise
        self.sql.execute("COMMIT")

    def close(self) -> None:
        """No more of it."""
        self.sql.close()
