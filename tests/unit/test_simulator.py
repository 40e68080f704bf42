"""What the companies outside do, as far as no contract says it."""

from contextlib import closing

from demo.provider.ledger import SCHEMA
from demo.simulator.store import IN_MEMORY, Store
from demo.simulator.webhooks import Outbox


def test_what_is_told_takes_its_time_beside_what_is_scripted() -> None:
    with closing(Store(IN_MEMORY, SCHEMA)) as store:
        outbox = Outbox(store, lambda: None, tells=True, after_s=0.25)
        outbox.tell({}, [100.0, 130.0])
        assert [len(outbox.due(now, 10, {})) for now in (100.2, 100.25, 130.2, 130.25)] == [0, 1, 1, 2]
