"""Deadlines become commands when they fall due: one service's, in a thread of its own."""

import logging
import random
from collections.abc import Iterable
from datetime import timedelta
from threading import Event, Thread

from kernel import deadlines
from kernel.clock import Clock
from kernel.deadlines import Claimed, Deadline
from kernel.pauses import backoff_s
from kernel.postgres import PreparedConnection, connect_briefly
from streams.engine.lane import reason_of

log = logging.getLogger(__name__)

#: Deadlines that are one transaction.
MOST = 100
#: Seconds between two looks at most: one that is set for sooner may be late by this.
LOOK_S = 1.0
#: Seconds of rest after a transaction, so that those which fall due meanwhile share the next one.
REST_S = 0.02
#: Seconds after which one looks again at what is due and cannot be had, as another worker has it.
TAKEN_S = 0.2
#: The pause after a first failure of the database, and the longest.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0


class Timer:
    """Carries out the deadlines of one service. Any number of them may run side by side."""

    def __init__(self, url: str, handlers: Iterable[Deadline], clock: Clock) -> None:
        self._url = url
        self._handlers = {each.name: each for each in handlers}
        self._clock = clock
        self._open: PreparedConnection | None = None
        self._stopping = Event()

    def start(self) -> None:
        """Works until stopped, in a thread that ends with its process, however that ends."""
        self._thread = Thread(target=self._run, name="timer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Asks the thread to end after what it is doing."""
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        """Waits for the thread to end."""
        self._thread.join(timeout_s)

    def run_due(self) -> float:
        """Carries out what is due, and gives the seconds until there is something to do again. Raises psycopg2.Error."""
        with self._connection().cursor() as cursor:
            next_at = deadlines.next_at(cursor, self._handlers)
        if next_at is None:
            return LOOK_S
        early = next_at - self._clock.now()
        if early > timedelta():
            return min(LOOK_S, early.total_seconds())
        carried_out = self._carry_out(MOST)
        if not carried_out:
            return TAKEN_S * random.uniform(0.5, 1)
        return REST_S if carried_out < MOST else 0.0

    def close(self) -> None:
        """Ends the connection."""
        if self._open:
            self._open.close()

    def _run(self) -> None:
        failures = 0
        pause_s = 0.0
        while not self._stopping.wait(pause_s):
            try:
                pause_s = self.run_due()
                failures = 0
            except Exception as error:  # noqa: BLE001  # whatever it is, it is said
                failures += 1
                pause_s = backoff_s(failures, FIRST_PAUSE_S, LONGEST_PAUSE_S)
                log.warning("deadlines wait, tries again (attempt %d): %s", failures, reason_of(error))
        self.close()

    def _carry_out(self, limit: int) -> int:
        """One transaction, of which is given how many deadlines it has dealt with.

        When it fails each gets one of its own, so that only those that fail themselves are put off.
        """
        claimed: list[Claimed] = []
        connection = self._connection()
        try:
            with connection, connection.cursor() as cursor:
                context = self._clock.context()
                claimed = deadlines.claim(cursor, self._handlers, context.now, limit)
                deadlines.carry_out(cursor, self._handlers, claimed, context)
        except Exception as error:
            if not claimed or connection.is_gone:
                raise
            if len(claimed) > 1:
                return sum(self._carry_out(1) for _ in claimed)
            with connection.cursor() as cursor:
                deadlines.put_off(cursor, claimed[0], reason_of(error), self._clock.now())
        return len(claimed)

    def _connection(self) -> PreparedConnection:
        """Each statement on it is a transaction of its own, but for those within a `with` on it."""
        if self._open is None or self._open.is_gone:
            self._open = connect_briefly(self._url, "deadlines")
        return self._open
