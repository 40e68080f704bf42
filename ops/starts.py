"""Where reactions begin that start now, noted before anybody reads or writes: from then on they miss nothing."""

from contextlib import closing

from api.services import services
from kernel import settings
from ops.consumers import topics_ends
from streams.engine.stores.postgres import PostgresStore


def note_starts() -> None:
    """At the ends of their topics; those that are noted stay."""
    starting = {each.name: [one for one in each.reactions if one.start == "now"] for each in services()}
    ends = topics_ends() if any(starting.values()) else {}
    for name, mine in starting.items():
        if mine:
            with closing(PostgresStore(settings.database_url(name), mine)) as store:
                store.begin(ends)
