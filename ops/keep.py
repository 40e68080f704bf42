"""`python -m ops keep`: keeps house until it is told to end. One process a stack; a second one does no harm."""

import logging
import signal
import threading
from functools import partial

from kernel import health as probes
from ops import chores, consumers, generations, health, old, outboxes, relay, summaries
from ops.chores import Chore

#: Seconds between looks at all consumers, which cost their stores some work.
_CONSUMERS_S = 30.0


def keep() -> None:
    """Returns after SIGTERM or SIGINT, once the chores at work have ended."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    looks = {**health.LOOKS, "the consumers": health.rarely(consumers.look, _CONSUMERS_S)}
    work = (
        Chore("partitions", 3_600, outboxes.keep_partitions),
        Chore("relay", 5, relay.Mender().mend),
        Chore("old", 600, old.forget_old),
        Chore("generations", 600, generations.sweep),
        Chore("summaries", 60, summaries.keep_summaries),
        Chore("troubles", 5, partial(health.note_troubles, looks)),
    )
    probes.serve(chores.check)
    chores.run(work, ended)
