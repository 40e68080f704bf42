"""Chores: work that is done again and again, each in a thread of its own, so that none keeps another from being done."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg2

from kernel import settings
from kernel.pauses import backoff_s
from kernel.refusals import Unavailable
from ops.databases import admin
from ops.trouble import Trouble

log = logging.getLogger(__name__)

#: A chore that failed is tried again after growing pauses, up to its own interval.
_FIRST_PAUSE_S = 1.0
#: A chore that goes wrong once was disturbed; one that does for this long needs somebody.
_PATIENCE = timedelta(minutes=1)
#: The note that housekeeping is at work is made by its most frequent chores, every few seconds.
_SILENCE = timedelta(minutes=1)

_DONE = """
INSERT INTO ops.chore (name, done_at) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET done_at = excluded.done_at, failing_since = NULL, error = NULL
"""
_FAILED = """
INSERT INTO ops.chore (name, failing_since, error) VALUES (%s, %s, %s)
ON CONFLICT (name) DO UPDATE
SET failing_since = coalesce(chore.failing_since, excluded.failing_since), error = excluded.error
"""


@dataclass(frozen=True)
class Chore:
    """One piece of housekeeping; done every so many seconds, more or less, and whenever it failed a little later."""

    name: str
    every_s: float
    work: Callable[[], None]


def run(chores: Sequence[Chore], ended: threading.Event) -> None:
    """Does them until the event is set, and returns when the last one has ended."""
    threads = [threading.Thread(target=_repeat, args=(chore, ended), name=chore.name) for chore in chores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def look() -> list[Trouble]:
    """The chores that fail, and whether any is done at all."""
    now = datetime.now(UTC)
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute("SELECT max(done_at) FROM ops.chore")
        [done_at] = cursor.fetchone() or (None,)
        cursor.execute(
            "SELECT name, error, failing_since FROM ops.chore WHERE failing_since < %s", (now - _PATIENCE,)
        )
        found = [Trouble(f"the chore {name}", f"it fails: {error}", since) for name, error, since in cursor]
    if done_at is None or now - done_at > _SILENCE:
        found.append(Trouble("housekeeping", "`ops keep` does not run", done_at))
    return found


def check() -> None:
    """Raises Unavailable when housekeeping is not done, or a chore fails."""
    if found := look():
        raise Unavailable(f"{found[0].what}: {found[0].why}")


def _repeat(chore: Chore, ended: threading.Event) -> None:
    failures = 0
    pause_s = 0.0
    while not ended.wait(pause_s):
        failures = 0 if _do(chore) else failures + 1
        pause_s = backoff_s(failures, _FIRST_PAUSE_S, chore.every_s) if failures else chore.every_s


def _do(chore: Chore) -> bool:
    """Whether it went well. Whatever goes wrong is said and noted, and keeps no other chore from being done."""
    try:
        chore.work()
        _note(_DONE, chore.name, datetime.now(UTC))
    except Exception as error:
        [reason, *_] = str(error).splitlines() or [""]
        said = f"{type(error).__name__}: {reason}"
        log.warning("%s: %s", chore.name, said, exc_info=log.isEnabledFor(logging.DEBUG))
        _note(_FAILED, chore.name, datetime.now(UTC), said)
        return False
    return True


def _note(statement: str, *values: object) -> None:
    try:
        with admin(settings.admin_database_url()) as cursor:
            cursor.execute(statement, values)
    except psycopg2.Error as error:
        log.warning("what became of %s can't be noted: %s", values[0], str(error).splitlines()[0])
