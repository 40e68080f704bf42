"""Random lives of whole shops: whatever happens in whatever order, every order ends, and money and stock add up."""

import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from demo.carrier.parcels import ParcelScript, PlannedScan
from demo.provider.cards import CARDS, CardScript
from kernel.refusals import Refused
from schemas.codec import TYPES
from schemas.exchange import ExchangeStep
from schemas.fulfilment import ShipmentStatus
from schemas.order import OrderStatus
from schemas.payment import OperationState
from schemas.returns import ReturnStatus
from tests.lives import DAY, Shop

#: How many lives in all; `marea chaos --model` sets it.
LIVES = int(os.environ.get("MAREA_LIVES", "2000"))
#: Parts that can be run at the same time.
PARTS = 2

DAY_S = 86_400.0
APPROVED = "tok_approved"
TOKENS = [card.token for card in CARDS]
#: Two in three are approved: else few orders would get far.
cards = st.sampled_from([*TOKENS, None, *[APPROVED] * 2 * len(TOKENS)])
skus = st.sampled_from(["milk", "bread", "gift"])
units = st.dictionaries(skus, st.integers(1, 3), min_size=1)
seeds = st.integers(0, 2**32 - 1)
#: What becomes of parcels: it arrives; is late; is lost; is never heard of; is lost, then there after all.
SCANS: Sequence[tuple[PlannedScan, ...] | None] = (
    *[None] * 4,
    (PlannedScan(what="delivered", after_s=9 * DAY_S),),
    (PlannedScan(what="lost", after_s=DAY_S),),
    (),
    (PlannedScan(what="lost", after_s=DAY_S), PlannedScan(what="delivered", after_s=2 * DAY_S)),
)
#: What goes wrong with calls of the provider, beside what cards do, by kind of operation.
TROUBLES: Sequence[tuple[Any, CardScript] | None] = (
    *[None] * 9,
    ("capture", CardScript(decline="card_declined")),
    ("void", CardScript(decline="processor_error")),
    ("void", CardScript(decline="processor_error", first=2)),
    ("refund", CardScript(decline="processor_error")),
    ("authorize", CardScript(errors=9)),
    ("capture", CardScript(errors=9)),
    ("refund", CardScript(errors=9, webhooks=())),
)

#: What has happened in all lives of this process.
seen: Counter[str] = Counter()


class Lives(RuleBasedStateMachine):
    """One shop, from its first order until all is over."""

    def __init__(self) -> None:
        super().__init__()
        self.shop = Shop()
        self.trouble: Any = None

    @initialize(
        stock=st.sampled_from([3, 100, 100]),
        scans=st.sampled_from(SCANS),
        trouble=st.sampled_from(TROUBLES),
        wanted=units,
        card=cards,
        chance=seeds,
    )
    def open(self, stock: int, scans: Any, trouble: Any, wanted: dict[str, int], card: str | None, chance: int) -> None:
        self.shop.stock_up(stock)
        self.shop.carrier.give("", None, ParcelScript(scans=scans))
        self.trouble = trouble
        if trouble:
            self.shop.provider.give("", *trouble)
        self.shop.place(wanted, card)
        self.go_on(chance, 1)

    @rule(wanted=units, card=cards)
    def place(self, wanted: dict[str, int], card: str | None) -> None:
        self.shop.place(wanted, card)

    @rule(chance=seeds, many=st.sampled_from([1, 2, 10, 30]))
    def happen(self, chance: int, many: int) -> None:
        """Reactions read on, calls are made, and things are told, in any order; some are told again later."""
        dice = random.Random(chance)
        for _ in range(many):
            things = self.shop.things()
            if not things:
                return
            thing = dice.choice(things)
            if thing in self.shop.told and dice.random() < 0.7:
                self.shop.told.remove(thing)
            thing()

    @rule(chance=seeds, days=st.integers(1, 5))
    def go_on(self, chance: int, days: int) -> None:
        """All happens that can by itself, staff do some of what waits for them, and some days go by."""
        dice = random.Random(chance)
        for _ in range(days):
            self.shop.settle(dice.choice)
            for order_id in [*self.shop.orders.orders.kept]:
                for first, *others in self.shop.waiting(order_id):
                    self._do(dice.choice([first, first, first, *others]) if dice.random() < 0.8 else None)
            self.shop.settle(dice.choice)
            self.shop.pass_time(dice.choice([timedelta(seconds=11), timedelta(hours=1), DAY, DAY, DAY, 31 * DAY]))

    @rule(chance=seeds)
    def see_to_something(self, chance: int) -> None:
        """Somebody does the one or other thing that waits for a person."""
        dice = random.Random(chance)
        waiting = [each for order_id in self.shop.orders.orders.kept for each in self.shop.waiting(order_id)]
        if waiting:
            self._do(dice.choice(dice.choice(waiting)))

    @rule(chance=seeds)
    def cancel(self, chance: int) -> None:
        self._do(lambda: self.shop.cancel(self._order(chance)))

    @rule(chance=seeds, sku=skus, quantity=st.integers(1, 2))
    def cancel_units(self, chance: int, sku: str, quantity: int) -> None:
        self._do(lambda: self.shop.cancel(self._order(chance), {sku: quantity}))

    @rule(chance=seeds, amount_minor=st.sampled_from([1, 50, 500]))
    def goodwill(self, chance: int, amount_minor: int) -> None:
        self._do(lambda: self.shop.goodwill(self._order(chance), amount_minor))

    @rule(chance=seeds, card=cards.filter(bool))
    def change_card(self, chance: int, card: str) -> None:
        self._do(lambda: self.shop.change_card(self._order(chance), card))

    @rule(chance=seeds)
    def scan(self, chance: int) -> None:
        """The carrier tells where a parcel is, maybe otherwise than before."""
        dice, order_id = random.Random(chance), self._order(chance)
        sent = [each["number"] for each in self.shop.parcels(order_id) if each["status"] in ("dispatched", "overdue", "delivered", "lost")]
        if sent:
            self.shop.scan(order_id, dice.choice(sent), dice.choice(["delivered", "delivered", "lost"]))

    @rule(chance=seeds, sku=skus)
    def give_back(self, chance: int, sku: str) -> None:
        self._do(lambda: self.shop.give_back(self._order(chance), {sku: 1}))

    @rule(chance=seeds, sku=skus, wanted=units, card=cards, is_regretted=st.booleans())
    def exchange(self, chance: int, sku: str, wanted: dict[str, int], card: str | None, *, is_regretted: bool) -> None:
        delivered = [
            order_id
            for order_id in self.shop.orders.orders.kept
            if any(parcel["status"] == "delivered" for parcel in self.shop.parcels(order_id))
        ]
        order_id = random.Random(chance).choice(delivered) if delivered else self._order(chance)
        self._do(lambda: self.shop.exchange(order_id, {sku: 1}, wanted, card))
        self.go_on(chance, 4)
        if is_regretted:
            self._do(lambda: self.shop.cancel([*self.shop.orders.orders.kept][-1]))

    @rule(chance=seeds, number=st.integers(1, 5))
    def read_again(self, chance: int, number: int) -> None:
        self.shop.again(random.Random(chance).choice(self.shop.readers), number)

    @rule(chance=seeds)
    def contradict(self, chance: int) -> None:
        """Seldom: the provider takes back what it has told."""
        dice, payment = random.Random(chance), self.shop.payment(self._order(chance))
        if payment and payment["operations"] and dice.random() < 0.2:
            self.shop.contradict(payment["order_id"], dice.choice(payment["operations"])["number"])

    @rule(how_long=st.sampled_from([timedelta(seconds=11), timedelta(minutes=20), 4 * DAY, 31 * DAY]))
    def pass_time(self, how_long: timedelta) -> None:
        self.shop.pass_time(how_long)

    def teardown(self) -> None:
        """All happens that can; then the provider is well again, and people do what waits for them, until all is over."""
        is_broken = sys.exc_info()[0] is not None
        try:
            if not is_broken and self.shop.orders.orders.kept:
                self._end()
        finally:
            self.shop.close()

    def _end(self) -> None:
        dice = random.Random(len(self.shop.orders.published))
        self.shop.settle(dice.choice)
        self.shop.check()
        if self.trouble:
            self.shop.provider.give("", self.trouble[0], CardScript())
        self.shop.finish(dice.choice)
        self.shop.check_over()
        note(self.shop)

    def _order(self, chance: int) -> str:
        """Any of them, or as likely the newest."""
        order_ids: list[str] = [*self.shop.orders.orders.kept]
        return random.Random(chance).choice([*order_ids, *[order_ids[-1]] * len(order_ids)])

    def _do(self, what: Callable[[], Any] | None) -> None:
        if what:
            with suppress(Refused):
                what()


def note(shop: Shop) -> None:
    """Counts what has happened in a shop, and every status that something has had."""
    for events in shop.topics.values():
        for event in events:
            seen[event.type] += 1
            data: Any = event.data
            statuses = {"order": [data.get("status")], "exchange": [data.get("step")]}
            statuses["shipment"] = [each["status"] for each in data.get("shipments", [])]
            statuses["return"] = [each["status"] for each in data.get("returns", [])]
            statuses["operation"] = [each["state"] for each in data.get("operations", [])]
            of = "case" if data.get("cases") else None
            if of:
                statuses[of] = [each["kind"] for each in data["cases"]]
            seen.update({f"{what} {status}" for what, each in statuses.items() for status in each if status})


#: All that can be seen, but the catalog, and stock that is counted by hand.
WANTED = {
    *(name for name, type_ in TYPES.items() if type_.topic != "marea.product" and name != "StockAdjusted"),
    *(f"order {status}" for status in get_args(OrderStatus)),
    *(f"shipment {status}" for status in get_args(ShipmentStatus)),
    *(f"return {status}" for status in get_args(ReturnStatus)),
    *(f"exchange {step}" for step in get_args(ExchangeStep)),
    *(f"operation {state}" for state in get_args(OperationState) if state != "asked"),
    *(f"case {kind}" for kind in ("unanswered", "disputed", "refund failed", "void failed", "uncollected")),
    *(f"case {kind}" for kind in ("held", "overdue", "contradicted")),
}


@pytest.mark.parametrize("part", range(PARTS))
def test_every_order_ends_and_money_and_stock_add_up_whatever_happens_in_whatever_order(part: int) -> None:
    """And lives go deep: every event, status and case comes up."""
    before = seen.copy()
    lives = settings(
        max_examples=max(1, LIVES // PARTS),
        stateful_step_count=20,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(part)(Lives), settings=lives)
    assert WANTED - {*(seen - before)} == set()
