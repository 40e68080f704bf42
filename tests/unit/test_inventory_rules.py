"""The rules of the inventory: given stock, when a command comes, then these events or a refusal."""

from collections.abc import Callable, Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from api.inventory import rules
from api.inventory.rules import Decision, Line, Reservation, Stock
from kernel.limits import MAX_NUMBER
from kernel.refusals import Conflict, Refused, Unknown
from schemas.stock import StockEvent
from tests.unit.contexts import context


def reserve(lines: list[Line], stocks: Mapping[str, Stock], order_id: str = "order") -> Decision:
    """For an order that has no answer yet."""
    decision = rules.reserve(order_id, lines, None, stocks, context())
    assert decision is not None
    return decision


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


def test_a_reservation_promises_every_line() -> None:
    decision = reserve([Line("milk", 7), Line("bread", 1)], STOCKS)
    assert decision.reservation == Reservation("order", 1, "made", [Line("milk", 7), Line("bread", 1)])
    assert [(event.type, event.key, event.version) for event in decision.stock] == [
        ("StockReserved", "milk", 5),
        ("StockReserved", "bread", 2),
    ]
    assert decision.event[1:4] == ("ReservationMade", "order", 1)
    assert decision.stock[0].data == {
        "sku": "milk",
        "order_id": "order",
        "quantity": 7,
        "on_hand": 10,
        "reserved": 10,
    }


def test_one_line_that_is_short_refuses_all_and_says_which() -> None:
    lines = [Line("milk", 8), Line("bread", 1), Line("wine", 1)]
    decision = reserve(lines, STOCKS)
    assert decision.reservation.status == "refused"
    assert decision.stock == []
    assert decision.event[1:4] == ("ReservationRefused", "order", 1)
    assert decision.event.data == {
        "order_id": "order",
        "reason": "not enough stock",
        "shortages": [
            {"sku": "milk", "requested": 8, "available": 7},
            {"sku": "wine", "requested": 1, "available": 0},
        ],
    }


def test_a_release_frees_what_was_promised_once() -> None:
    made = reserve([Line("milk", 7)], STOCKS)
    stocks = STOCKS | rules.stock_after(made.stock)
    released = rules.release(made.reservation, stocks, context())
    assert released is not None
    assert [(event.type, event.version) for event in released.stock] == [("StockReleased", 6)]
    assert released.event[1:4] == ("ReservationReleased", "order", 2)
    assert rules.stock_after(released.stock)["milk"] == MILK._replace(version=6)
    assert rules.release(released.reservation, stocks, context()) is None


def test_there_is_nothing_to_release_where_nothing_was_promised() -> None:
    refused = reserve([Line("wine", 1)], STOCKS)
    assert rules.release(refused.reservation, STOCKS, context()) is None
    assert rules.release(None, STOCKS, context()) is None


def test_an_order_that_has_its_answer_gets_no_other() -> None:
    lines = [Line("milk", 1)]
    for decision in (reserve(lines, STOCKS), reserve([Line("wine", 1)], STOCKS)):
        assert rules.reserve("order", lines, decision.reservation, STOCKS, context()) is None
    made = reserve(lines, STOCKS)
    released = rules.release(made.reservation, STOCKS | rules.stock_after(made.stock), context())
    assert released is not None
    assert rules.reserve("order", lines, released.reservation, STOCKS, context()) is None


skus = st.sampled_from(["milk", "bread", "wine"])
quantities = st.integers(1, 20)
orders = st.dictionaries(skus, quantities, min_size=1).map(
    lambda lines: [Line(*line) for line in lines.items()]
)


@given(st.dictionaries(skus, st.integers(0, 30)), orders)
def test_a_reservation_is_made_for_all_lines_or_for_none(on_hand: dict[str, int], lines: list[Line]) -> None:
    stocks = {sku: Stock(sku, 1, units) for sku, units in on_hand.items()}
    decision = reserve(lines, stocks)
    covered = all(line.quantity <= on_hand.get(line.sku, 0) for line in lines)
    assert decision.reservation.status == ("made" if covered else "refused")
    assert [Line(event.key, event.data["quantity"]) for event in decision.stock] == (lines if covered else [])


class Warehouse(RuleBasedStateMachine):
    """Any interleaving of commands."""

    def __init__(self) -> None:
        super().__init__()
        self.stocks: dict[str, Stock] = {}
        self.reservations: list[Reservation] = []

    @rule(sku=skus, quantity=quantities)
    def receive(self, sku: str, quantity: int) -> None:
        self._happened([rules.receive(self.stocks.get(sku, Stock(sku)), quantity, context())])

    @rule(sku=skus, quantity=st.integers(-20, 20).filter(bool))
    def adjust(self, sku: str, quantity: int) -> None:
        self._unless_refused(lambda: [rules.adjust(sku, self.stocks.get(sku), quantity, "counted", context())])

    @rule(lines=orders)
    def reserve(self, lines: list[Line]) -> None:
        self._decided(reserve(lines, self.stocks, f"order-{len(self.reservations)}"), None)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.reservations:
            number = data.draw(st.integers(0, len(self.reservations) - 1))
            decision = rules.release(self.reservations[number], self.stocks, context())
            if decision:
                self._decided(decision, number)

    @invariant()
    def stock_is_never_below_zero(self) -> None:
        assert all(stock.available >= 0 and stock.reserved >= 0 for stock in self.stocks.values())

    @invariant()
    def what_is_reserved_is_what_made_reservations_hold(self) -> None:
        held = dict.fromkeys(self.stocks, 0)
        for reservation in self.reservations:
            for line in reservation.lines if reservation.status == "made" else ():
                held[line.sku] += line.quantity
        assert held == {sku: stock.reserved for sku, stock in self.stocks.items()}

    def _decided(self, decision: Decision, number: int | None) -> None:
        self._happened(decision.stock)
        if number is None:
            self.reservations.append(decision.reservation)
        else:
            assert decision.reservation.version == self.reservations[number].version + 1
            self.reservations[number] = decision.reservation

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
