"""Summaries: what ClickHouse adds up of tables, for questions that would read too many rows.

A summary is a file in sql/clickhouse/summaries. Its first statement makes `<name>_history`, a materialized view that
ClickHouse refreshes by itself, from the views that readers see: so it follows a rebuild's switch, and doubles are folded.
Its second statement makes the view `<name>`, of that and of what has come since.
"""

from hashlib import sha256
from pathlib import Path

from clickhouse_connect.driver.client import Client

from api.services import tables
from kernel import settings
from kernel.code import ROOT
from streams.engine.stores.clickhouse import connect, live_generations

FOLDER = ROOT / "sql" / "clickhouse" / "summaries"

_MADE = "SELECT name, comment FROM system.tables WHERE database = currentDatabase()"
_FAILED = """
SELECT view, exception FROM system.view_refreshes WHERE database = currentDatabase() AND exception != '' ORDER BY view
"""


class NotRefreshed(Exception):
    """A summary can't be made or refreshed; the text says which and why."""


def keep_summaries() -> None:
    """Makes summaries that are missing, or of which the file says something else by now.

    Raises NotRefreshed when there are no tables yet, or ClickHouse could not refresh one; and what ClickHouse raises.
    """
    with connect(settings.clickhouse_url()) as client:
        missing = tables().keys() - live_generations(client, tables()).keys()
        if missing:
            raise NotRefreshed(f"no worker has made the tables {', '.join(sorted(missing))} yet")
        made = {name: comment for name, comment in client.query(_MADE).result_rows}  # noqa: C416  says what a row is
        for path in sorted(FOLDER.glob("*.sql")):
            make(client, path, made.get(path.stem, ""))
        failed = client.query(_FAILED).result_rows
    if failed:
        raise NotRefreshed("; ".join(f"{view}: {exception}" for view, exception in failed))


def make(client: Client, path: Path, made_of: str = "") -> None:
    """Makes a summary, unless the file has the digest of what it was made of, which is the comment of its view."""
    text = path.read_text()
    digest = sha256(text.encode()).hexdigest()[:16]
    if digest == made_of:
        return
    history, view = text.split(";\n")
    client.command(f"DROP VIEW IF EXISTS {path.stem}_history SYNC")
    client.command(history)
    # Last, so that somebody who dies before has made nothing.
    client.command(f"{view} COMMENT '{digest}'")
