"""`python -m ops keep`: keeps house until it is told to end. One process a stack; a second one does no harm."""

import logging
import signal
import threading

from ops import chores, health, outboxes, relay
from ops.chores import Chore


def keep() -> None:
    """Returns after SIGTERM or SIGINT, once the chores at work have ended."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    work = (
        Chore("partitions", 3_600, outboxes.keep_partitions),
        Chore("relay", 5, relay.Mender().mend),
        Chore("troubles", 5, health.note_troubles),
    )
    chores.run(work, ended)
