"""What stands still, of all that production runs: looked for anew, with the moment since when housekeeping has seen it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic

import psycopg2

from kernel import settings
from ops import chores, consumers, due, outboxes, relay
from ops.databases import admin
from ops.trouble import Trouble, unknown

Look = Callable[[], list[Trouble]]
Looks = Mapping[str, Look]

#: Every look gives what it finds. One that can't is a trouble itself, by this name.
LOOKS: Looks = {
    "the relay": relay.look,
    "the outboxes": outboxes.look,
    "the consumers": consumers.look,
    "the deadlines and tasks": due.look,
    "housekeeping": chores.look,
}
_FORGET = "DELETE FROM ops.trouble WHERE what <> ALL (%s)"
_NOTE = "INSERT INTO ops.trouble (what, since) SELECT unnest(%s::text[]), %s ON CONFLICT DO NOTHING"


def rarely(look: Look, every_s: float) -> Look:
    """A look that costs much, taken again only after so many seconds; till then it gives what it found."""
    found: list[Trouble] = []
    due_at = monotonic()

    def remembered() -> list[Trouble]:
        nonlocal found, due_at
        if monotonic() >= due_at:
            found, due_at = look(), monotonic() + every_s
        return found

    return remembered


def troubles(looks: Looks = LOOKS) -> list[Trouble]:
    """Everything that stands still or needs attention now."""
    found = [trouble for name, look in looks.items() for trouble in _look(name, look)]
    try:
        since = _noted()
    except psycopg2.Error:
        return found  # it has been found by the looks already
    return [trouble if trouble.since else replace(trouble, since=since.get(trouble.what)) for trouble in found]


def note_troubles(looks: Looks = LOOKS) -> None:
    """Notes what stands still now, so that one can tell since when; and forgets what does not any more."""
    names = [trouble.what for trouble in troubles(looks)]
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute(_FORGET, (names,))
        cursor.execute(_NOTE, (names, datetime.now(UTC)))


def _look(name: str, look: Callable[[], list[Trouble]]) -> list[Trouble]:
    try:
        return look()
    except psycopg2.Error as error:
        [reason, *_] = str(error).splitlines() or [repr(error)]
        return [unknown(name, reason)]


def _noted() -> dict[str, datetime]:
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute("SELECT what, since FROM ops.trouble")
        return dict(cursor.fetchall())
