"""A provider of payments in memory: the simulator's books without HTTP, for tests that run many lives of orders.

Its scripts, cards and clock are those of demo/provider; it passes the contract tests that the simulator's adapter passes.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from time import time

from api.payments.provider import Entry, Kind, Outcome, Webhook
from api.payments.simulated import EntryOfPage, Operation, parse_webhook
from demo.provider.cards import CardScript
from demo.provider.ledger import SCHEMA, Asked, Broken, KeyReused, Ledger
from demo.simulator.clock import Clock
from demo.simulator.scripts import Scripts
from demo.simulator.store import IN_MEMORY, Store
from demo.simulator.webhooks import Outbox, sign
from kernel.outside import TIMEOUT_S
from kernel.tasks import NoAnswer

SECRET = "of the provider in memory"


class MemoryProvider:
    """See Provider. `system` gives seconds since 1970."""

    def __init__(self, system: Callable[[], float] = time) -> None:
        self._store = Store(IN_MEMORY, SCHEMA)
        self._system, self._clock = system, Clock(self._store, system)
        self._scripts = Scripts(self._store, CardScript)
        self._outbox = Outbox(self._store, lambda: None, tells=True)
        self._ledger = Ledger(self._store, self._scripts, self._outbox, self._clock)

    def give(self, prefix: str, kind: Kind | None, script: CardScript) -> None:
        """As POST /scripts of the simulator."""
        self._scripts.give(prefix, kind or "", script)

    def advance(self, seconds: float) -> None:
        """As POST /clock of the simulator."""
        self._clock.advance(seconds)

    def webhooks(self) -> list[tuple[dict[str, str], bytes]]:
        """Headers and bodies of what it tells by now, each once."""
        self._ledger.pass_time()
        found = self._outbox.due(self._clock.now(), 10_000, {})
        for each in found:
            self._outbox.taken(each.number)
        return [(sign(each.body, [SECRET], self._system()), each.body) for each in found]

    def close(self) -> None:
        """Forgets all."""
        self._store.close()

    def authorize(self, operation_id: str, order_id: str, amount_minor: int, currency: str, card_token: str) -> Outcome:
        return self._operate(
            Asked(operation_id, "authorize", amount_minor, order_id=order_id, currency=currency, token=card_token)
        )

    def capture(self, operation_id: str, reference: str, amount_minor: int) -> Outcome:
        return self._operate(Asked(operation_id, "capture", amount_minor, reference))

    def void(self, operation_id: str, reference: str) -> Outcome:
        return self._operate(Asked(operation_id, "void", reference=reference))

    def refund(self, operation_id: str, reference: str, amount_minor: int) -> Outcome:
        return self._operate(Asked(operation_id, "refund", amount_minor, reference))

    def lookup(self, operation_id: str) -> Outcome | None:
        found = self._ledger.lookup(operation_id)
        return Operation.model_validate(found).outcome() if found else None

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Webhook:
        return parse_webhook(headers, body, now, [SECRET])

    def ledger(self) -> Iterator[Entry]:
        for each in self._ledger.page(0, -1):  # no limit
            yield EntryOfPage.model_validate(each).entry()

    def _operate(self, asked: Asked) -> Outcome:
        try:
            done = self._ledger.operate(asked)
        except (KeyReused, Broken) as error:
            raise NoAnswer(repr(error)) from error
        if done.drops or (done.is_new and done.script.delay_s >= TIMEOUT_S):
            raise NoAnswer("the answer is lost, or too late")
        return Operation.model_validate(done.operation).outcome()
