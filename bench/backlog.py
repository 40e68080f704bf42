"""Orders that wait for their outcome, told from what the service of orders has in its tables, without reading orders."""

import asyncio
from time import monotonic
from typing import NamedTuple, Self

import psycopg2

#: Orders that may wait at once: enough that nothing on the path ever waits for the load.
MOST_WAITING = 1_000
#: Seconds between two questions to PostgreSQL, and seconds after which a path that settles nothing has stopped.
LOOK_S, STUCK_S = 0.05, 60.0



class Outcome(NamedTuple):
    """What orders wait for. `query` gives a number that rises by one with each that has it; with `is_net`, it falls by one with each
    that is placed.
    """

    query: str
    is_net: bool


#: Stock is reserved, or not: each order has one answer of the inventory, as long as none is taken back.
RESERVED = Outcome(
    "SELECT coalesce(sum(next_offset), 0) FROM orders.position WHERE consumer = 'orders.reservations'", is_net=False
)
#: It is paid for, or undone: until then there is a deadline for it.
CONFIRMED = Outcome("SELECT -count(*) FROM orders.deadline WHERE name = 'pay_by'", is_net=True)


class Backlog:
    """Keeps MOST_WAITING orders waiting, and no more: the path is saturated, and what is offered is settled."""

    def __init__(self, database_url: str, outcome: Outcome) -> None:
        self._connection = psycopg2.connect(database_url)
        self._connection.autocommit = True
        self._outcome = outcome
        self._sent = 0
        self._before = self._read()
        self._settled = 0
        self._looked = self._progressed = monotonic()

    def settled(self) -> int:
        """Orders that have their outcome, of those that were paced."""
        return self._read() - self._before + (self._sent if self._outcome.is_net else 0)

    def waiting(self) -> int:
        """Orders that wait, of those that were paced."""
        return self._sent - self.settled()

    async def pace(self) -> None:
        """Returns when fewer than MOST_WAITING wait. Raises TimeoutError when none is settled for STUCK_S."""
        while self._sent - self._settled >= MOST_WAITING:
            if monotonic() - self._looked > LOOK_S:
                self._look()
            else:
                await asyncio.sleep(LOOK_S / 5)
        self._sent += 1

    def _look(self) -> None:
        self._looked = monotonic()
        settled = self.settled()
        if settled > self._settled:
            self._settled, self._progressed = settled, self._looked
        elif self._looked - self._progressed > STUCK_S:
            raise TimeoutError(
                f"{self._sent - settled} orders wait, and none was settled for {STUCK_S:.0f} s"
            )

    def _read(self) -> int:
        with self._connection.cursor() as cursor:
            cursor.execute(self._outcome.query)
            [number] = cursor.fetchone() or [0]
            return int(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()
