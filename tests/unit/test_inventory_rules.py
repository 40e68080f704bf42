"""The rules of the inventory: given stock and what is known of an order, when something comes, then these events or a refusal."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from api.inventory import rules
from api.inventory.rules import Decision, Facts, Reservation, Stock
from kernel.limits import MAX_NUMBER
from kernel.refusals import Conflict, Refused, Unknown
from schemas.stock import StockEvent
from tests.unit.contexts import context

MILK = Stock("milk", version=4, on_hand=10, reserved=3)
BREAD = Stock("bread", version=1, on_hand=2)
STOCKS = {"milk": MILK, "bread": BREAD}


def test_a_receipt_adds_to_what_is_on_hand() -> None:
    event = rules.receive(MILK, 5, context())
    assert (event.type, event.key, event.version) == ("StockReceived", "milk", 5)
    assert event.data == {"sku": "milk", "quantity": 5, "on_hand": 15, "reserved": 3}


def test_the_first_receipt_makes_version_1() -> None:
    assert rules.evolve(rules.receive(Stock("milk"), 5, context())) == Stock("milk", 1, 5, 0)


def test_more_than_can_be_counted_is_refused() -> None:
    assert rules.evolve(rules.receive(MILK, MAX_NUMBER - 10, context())).on_hand == MAX_NUMBER
    with pytest.raises(Conflict, match="counted"):
        rules.receive(MILK, MAX_NUMBER - 9, context())
    with pytest.raises(Conflict, match="counted"):
        rules.adjust("milk", MILK, MAX_NUMBER - 9, "found", context())


def test_an_adjustment_changes_what_is_on_hand_and_says_why() -> None:
    event = rules.adjust("milk", MILK, -2, "broken", context())
    assert event.type == "StockAdjusted"
    assert event.data == {"sku": "milk", "quantity": -2, "reason": "broken", "on_hand": 8, "reserved": 3}


def test_units_that_are_promised_cannot_be_adjusted_away() -> None:
    assert rules.evolve(rules.adjust("milk", MILK, -7, "gone", context())).available == 0
    with pytest.raises(Conflict, match="7 available"):
        rules.adjust("milk", MILK, -8, "gone", context())


def test_stock_that_was_never_received_cannot_be_adjusted() -> None:
    with pytest.raises(Unknown):
        rules.adjust("milk", None, 1, "found", context())


def after(facts: Any, stocks: Mapping[str, Stock], reservation: Reservation | None = None) -> tuple[Reservation, dict[str, Stock], Facts, list[Decision]]:
    """All that follows from the facts."""
    now, held, decisions = reservation or Reservation("order"), dict(stocks), []
    while decision := rules.decide(now, facts, held, context()):
        decisions.append(decision)
        facts = decision.facts
        held |= rules.stock_after(decision.stock)
        if decision.event:
            now = Reservation("order", decision.event.version, rules.reservation_after(decision.event))
    return now, held, facts, decisions


def lines(reservation: Reservation) -> dict[str, tuple[int, int, int]]:
    """Reserved, released and consumed."""
    assert reservation.state
    return {each["sku"]: (each["reserved"], each["released"], each["consumed"]) for each in reservation.state["lines"]}


def stopped(version: int, **units: int) -> Any:
    return {"stopped": {"version": version, "units": units}}


def test_a_reservation_promises_every_line() -> None:
    made, held, _, [decision] = after({"placed": {"milk": 7, "bread": 1}}, STOCKS)
    assert (made.version, lines(made)) == (1, {"milk": (7, 0, 0), "bread": (1, 0, 0)})
    assert [(event.type, event.key, event.version) for event in decision.stock] == [("StockReserved", "milk", 5), ("StockReserved", "bread", 2)]
    assert (held["milk"].available, held["bread"].available) == (0, 1)


def test_one_line_that_is_short_refuses_all_and_says_which() -> None:
    refused, held, _, [decision] = after({"placed": {"milk": 8, "bread": 1, "wine": 1}}, STOCKS)
    assert held == STOCKS
    assert decision.event
    assert (decision.event.type, refused.state and refused.state["status"]) == ("ReservationRefused", "refused")
    shortages: Any = decision.event.data
    assert shortages["shortages"] == [
        {"sku": "milk", "requested": 8, "available": 7},
        {"sku": "wine", "requested": 1, "available": 0},
    ]


def test_what_is_cancelled_is_free_again_once_and_answered_by_the_orders_version() -> None:
    made, held, facts, _ = after({"placed": {"milk": 7}}, STOCKS)
    part, held, facts, _ = after({**facts, **stopped(4, milk=2)}, held, made)
    assert part.state
    assert (lines(part), part.state["status"], part.state["order_version"], held["milk"].available) == ({"milk": (7, 2, 0)}, "made", 4, 2)
    assert after(facts, held, part)[3] == []
    whole, held, _, _ = after({**facts, **stopped(6, milk=7)}, held, part)
    assert whole.state
    assert (lines(whole), whole.state["status"], held["milk"].available) == ({"milk": (7, 7, 0)}, "released", 7)


def test_what_was_refused_is_answered_too() -> None:
    refused, held, facts, _ = after({"placed": {"wine": 1}}, STOCKS)
    answered, held, _, [decision] = after({**facts, **stopped(3, wine=1)}, held, refused)
    assert (decision.stock, answered.state and answered.state["order_version"], held) == ([], 3, STOCKS)


def test_what_has_left_the_house_is_not_on_hand_and_cannot_be_released() -> None:
    made, held, facts, _ = after({"placed": {"milk": 7}}, STOCKS)
    gone, held, facts, [decision] = after({**facts, "gone": {"milk": 5}}, held, made)
    assert [event.type for event in decision.stock] == ["StockShipped"]
    assert (held["milk"].on_hand, held["milk"].reserved) == (5, 5)
    done, held, _, _ = after({**facts, **stopped(4, milk=7)}, held, gone)
    assert done.state
    assert (lines(done), done.state["status"], held["milk"].reserved) == ({"milk": (7, 2, 5)}, "consumed", 3)


def test_what_came_back_is_counted_once_a_return() -> None:
    made, held, facts, _ = after({"placed": {"milk": 1}, "gone": {"milk": 1}}, STOCKS)
    returned: Any = {"returned": {"1": {"milk": 1}}}
    back, held, facts, _ = after({**facts, **returned}, held, made)
    assert held["milk"].on_hand == 10
    assert after({**facts, **returned}, held, back)[3] == []
    assert after({**facts, "returned": {"1": {"milk": 1}, "2": {"milk": 1}}}, held, back)[1]["milk"].on_hand == 11


def test_what_came_before_the_order_is_kept_and_counts_then() -> None:
    early: Any = {**stopped(2, milk=3), "gone": {}}
    assert after(early, STOCKS)[3] == []
    done, held, _, _ = after({**early, "placed": {"milk": 3}}, STOCKS)
    assert (lines(done), held["milk"].reserved) == ({"milk": (3, 3, 0)}, 3)


skus = st.sampled_from(["milk", "bread", "wine"])
quantities = st.integers(1, 20)
orders = st.dictionaries(skus, quantities, min_size=1)


@given(st.dictionaries(skus, st.integers(0, 30)), orders)
def test_a_reservation_is_made_for_all_lines_or_for_none(on_hand: dict[str, int], wanted: dict[str, int]) -> None:
    stocks = {sku: Stock(sku, 1, units) for sku, units in on_hand.items()}
    reservation, _, _, [decision] = after({"placed": wanted}, stocks)
    covered = all(quantity <= on_hand.get(sku, 0) for sku, quantity in wanted.items())
    assert reservation.state
    assert reservation.state["status"] == ("made" if covered else "refused")
    assert {event.key: event.data["quantity"] for event in decision.stock} == (wanted if covered else {})


class Warehouse(RuleBasedStateMachine):
    """Any interleaving of commands, and of what is heard of orders."""

    def __init__(self) -> None:
        super().__init__()
        self.stocks: dict[str, Stock] = {}
        self.orders: list[tuple[Reservation, Facts]] = []

    @rule(sku=skus, quantity=quantities)
    def receive(self, sku: str, quantity: int) -> None:
        self._happened([rules.receive(self.stocks.get(sku, Stock(sku)), quantity, context())])

    @rule(sku=skus, quantity=st.integers(-20, 20).filter(bool))
    def adjust(self, sku: str, quantity: int) -> None:
        self._unless_refused(lambda: [rules.adjust(sku, self.stocks.get(sku), quantity, "counted", context())])

    @rule(wanted=orders)
    def place(self, wanted: dict[str, int]) -> None:
        self.orders.append((Reservation("order"), {}))
        self._heard(len(self.orders) - 1, {"placed": wanted})

    @rule(data=st.data(), units=orders)
    def cancel(self, data: st.DataObject, units: dict[str, int]) -> None:
        if self.orders:
            number = data.draw(st.integers(0, len(self.orders) - 1))
            version = self.orders[number][1].get("stopped", {"version": 1})["version"] + 1
            self._heard(number, stopped(version, **units))

    @rule(data=st.data(), units=orders)
    def send(self, data: st.DataObject, units: dict[str, int]) -> None:
        if self.orders:
            self._heard(data.draw(st.integers(0, len(self.orders) - 1)), {"gone": units})

    @invariant()
    def stock_is_never_below_zero(self) -> None:
        assert all(stock.available >= 0 and stock.reserved >= 0 for stock in self.stocks.values())

    @invariant()
    def what_is_reserved_is_what_reservations_hold(self) -> None:
        held = dict.fromkeys(self.stocks, 0)
        for reservation, _ in self.orders:
            for sku, (reserved, released, consumed) in lines(reservation).items():
                assert released + consumed <= reserved
                held[sku] += reserved - released - consumed
        assert held == {sku: stock.reserved for sku, stock in self.stocks.items()}

    def _heard(self, number: int, more: Any) -> None:
        reservation, facts = self.orders[number]
        now, held, known, decisions = after({**facts, **more}, self.stocks, reservation)
        assert now.version == reservation.version + sum(decision.event is not None for decision in decisions)
        self.stocks, self.orders[number] = held, (now, known)

    def _unless_refused(self, decide: Callable[[], list[StockEvent]]) -> None:
        try:
            events = decide()
        except Refused:
            return
        self._happened(events)

    def _happened(self, events: Iterable[StockEvent]) -> None:
        for event in events:
            assert event.version == self.stocks.get(event.key, Stock(event.key)).version + 1
            self.stocks[event.key] = rules.evolve(event)


TestAnyInterleavingOfCommands = Warehouse.TestCase
