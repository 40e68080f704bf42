"""The tables of docs/sagas.md as graphs: from every status there is a way to one that is final."""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import cache
from typing import Any, get_args

import pytest

from demo.carrier.parcels import ParcelScript, PlannedScan
from demo.provider.cards import CARDS, CardScript
from kernel.refusals import Refused
from schemas.exchange import ExchangeStep
from schemas.fulfilment import ShipmentStatus
from schemas.order import OrderStatus
from schemas.payment import OperationState
from schemas.reservation import ReservationStatus
from schemas.returns import ReturnStatus
from tests.lives import DAY, Shop

#: By what has statuses: all of them, and those that are final. An operation of which nobody knows is settled by its answer.
STATUSES: Mapping[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "order": (get_args(OrderStatus), frozenset({"rejected", "cancelled", "completed"})),
    "reservation": (get_args(ReservationStatus), frozenset({"refused", "released", "consumed"})),
    "operation": (tuple(each for each in get_args(OperationState) if each != "asked"), frozenset({"succeeded", "failed"})),
    "shipment": (get_args(ShipmentStatus), frozenset({"delivered", "lost", "cancelled"})),
    "return": (get_args(ReturnStatus), frozenset({"rejected", "cancelled", "expired", "refunded"})),
    "exchange": (get_args(ExchangeStep), frozenset({"finished", "failed"})),
}
CHANGES = {"order": "status", "reservation": "status", "exchange": "step"}
PARTS = {"payment": ("operation", "operations", "state"), "fulfilment": ("shipment", "shipments", "status"), "returns": ("return", "returns", "status")}
LIVES = 150


def walked(shop: Shop) -> set[tuple[str, str, str]]:
    """What has a status, the one that it had, and the one that it had next."""
    found: set[tuple[str, str, str]] = set()
    for topic, events in shop.topics.items():
        before: dict[Any, str] = {}
        for event in events:
            for what, key, status in _statuses(topic.removeprefix("marea."), event):
                if (last := before.get(key)) and last != status:
                    found.add((what, last, status))
                before[key] = status
    return found


def _statuses(name: str, event: Any) -> list[tuple[str, Any, str]]:
    if name in CHANGES:
        return [(name, event.key, event.data[CHANGES[name]])]
    if name in PARTS:
        what, parts, field = PARTS[name]
        return [(what, (event.key, each["number"]), each[field]) for each in event.data[parts]]
    return []


def life(seed: int) -> Shop:
    """An order, what comes of it, and an exchange of it; people do the one or other thing that they can."""
    dice, shop = random.Random(seed), Shop()
    if dice.random() < 0.2:
        shop.stock_up(2)
    shop.carrier.give("", None, ParcelScript(scans=dice.choice([None, None, (), (PlannedScan(what="lost", after_s=1),)])))
    if dice.random() < 0.3:
        shop.provider.give("", dice.choice(["authorize", "capture", "refund"]), CardScript(errors=9))
    order_id = shop.place({"milk": 2, "bread": 1}, dice.choice([*[card.token for card in CARDS], *["tok_approved"] * 22]))
    commands: list[Callable[[], Any]] = [
        *[lambda: shop.cancel(order_id)] * 2,
        lambda: shop.cancel(order_id, {"milk": 1}),
        *[lambda: shop.give_back(order_id, {"milk": 1})] * 2,
        *[lambda: shop.exchange(order_id, {"bread": 1}, {"milk": 1})] * 2,
        lambda: shop.contradict(order_id, 1),
        lambda: shop.pass_time(31 * DAY),
    ]
    for _ in range(12):
        shop.settle(dice.choice)
        for each in list(shop.orders.orders.kept):
            for first, *others in shop.waiting(each):
                with suppress(Refused):
                    dice.choice([first, first, first, *others])()
        if dice.random() < 0.3:
            with suppress(Refused, ValueError, AssertionError):  # there is no operation, or no payment, yet
                dice.choice(commands)()
        shop.pass_time(dice.choice([timedelta(seconds=11), DAY, 3 * DAY]))
    shop.close()
    return shop


@cache
def graph() -> Mapping[str, Mapping[str, set[str]]]:
    """By what has statuses and by status, those that may follow."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for seed in range(LIVES):
        for what, before, after in walked(life(seed)):
            found[what][before].add(after)
    return found


@pytest.mark.parametrize("what", STATUSES)
def test_from_every_status_there_is_a_way_to_a_final_one(what: str) -> None:
    statuses, final = STATUSES[what]
    ways = graph()[what]
    leads = set(final)
    while more := {each for each in statuses if each not in leads and ways.get(each, set()) & leads}:
        leads |= more
    assert {*statuses} - leads == set(), "without a way out"


@pytest.mark.parametrize(("what", "ends"), [("order", "completed"), ("reservation", "refused"), ("return", "refunded"), ("shipment", "cancelled")])
def test_what_is_final_stays_so(what: str, ends: str) -> None:
    assert graph()[what].get(ends, set()) == set()
