"""A carrier in memory: the simulator's parcels without HTTP. Its scripts and clock are those of demo/carrier."""

from collections.abc import Callable, Mapping
from datetime import datetime
from time import time
from typing import Literal

from api.shipping.carrier import Booked, Scan
from api.shipping.simulated import Parcel, parse_webhook
from demo.carrier.parcels import SCHEMA, Broken, Done, KeyReused, NoParcel, Parcels, ParcelScript
from demo.simulator.clock import Clock
from demo.simulator.scripts import Scripts
from demo.simulator.store import IN_MEMORY, Store
from demo.simulator.webhooks import Outbox, sign
from kernel.outside import TIMEOUT_S
from kernel.tasks import NoAnswer

SECRET = "of the carrier in memory"


class MemoryCarrier:
    """See Carrier. `system` gives seconds since 1970; a day on its roads takes `day_s`."""

    def __init__(self, system: Callable[[], float] = time, day_s: float = 86_400) -> None:
        self._store = Store(IN_MEMORY, SCHEMA)
        self._system, self._clock = system, Clock(self._store, system)
        self._scripts = Scripts(self._store, ParcelScript)
        self._outbox = Outbox(self._store, lambda: None, tells=True)
        self._parcels = Parcels(self._store, self._scripts, self._outbox, self._clock, day_s)

    def give(self, prefix: str, kind: Literal["book", "hand_over"] | None, script: ParcelScript) -> None:
        """As POST /scripts of the simulator."""
        self._scripts.give(prefix, kind or "", script)

    def advance(self, seconds: float) -> None:
        """As POST /clock of the simulator."""
        self._clock.advance(seconds)

    def webhooks(self) -> list[tuple[dict[str, str], bytes]]:
        """Headers and bodies of what it tells by now, each once."""
        found = self._outbox.due(self._clock.now(), 10_000, {})
        for each in found:
            self._outbox.taken(each.number)
        return [(sign(each.body, [SECRET], self._system()), each.body) for each in found]

    def close(self) -> None:
        """Forgets all."""
        self._store.close()

    def book(self, key: str, reference: str) -> Booked:
        parcel = _done(lambda: self._parcels.book(key, reference))
        return Booked(parcel.tracking, parcel.days)

    def hand_over(self, key: str, tracking: str) -> None:
        _done(lambda: self._parcels.hand_over(key, tracking))

    def lookup(self, tracking: str) -> Scan | None:
        try:
            scan = Parcel.model_validate(self._parcels.lookup(tracking)).scan
        except NoParcel:
            return None
        return scan.scan() if scan else None

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Scan:
        return parse_webhook(headers, body, now, [SECRET])


def _done(work: Callable[[], Done]) -> Parcel:
    try:
        done = work()
    except (KeyReused, Broken, NoParcel) as error:
        raise NoAnswer(repr(error)) from error
    if done.drops or (done.is_new and done.script.delay_s >= TIMEOUT_S):
        raise NoAnswer("the answer is lost, or too late")
    return Parcel.model_validate(done.parcel)
