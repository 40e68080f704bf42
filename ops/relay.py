"""The relay of every database: its connector, and its replication slot."""

from tenacity import Retrying, stop_after_delay, wait_fixed

from connectors.relay import Database, RelayDown, register
from kernel import settings
from ops.databases import admin, admin_url, databases

_SLOT_TIMEOUT_S = 120.0


def register_connectors() -> None:
    """Every database's connector runs, and its slot is in use. Raises RelayDown otherwise."""
    for database in databases():
        register(settings.connect_url(), database)
        _await_slot(database)


def _await_slot(database: Database) -> None:
    """A connector that says RUNNING may still be at its snapshot; its slot is in use when it follows the log."""
    with admin(admin_url(database)) as cursor:
        for attempt in Retrying(stop=stop_after_delay(_SLOT_TIMEOUT_S), wait=wait_fixed(0.1), reraise=True):
            with attempt:
                cursor.execute("SELECT active FROM pg_replication_slots WHERE slot_name = %s", (database.slot,))
                if cursor.fetchone() != (True,):
                    raise RelayDown(f"nobody reads the replication slot {database.slot}: see Kafka Connect's log")
