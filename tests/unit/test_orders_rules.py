"""The rules of orders: given an order and what is known, when something comes, then these events, or a refusal."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.orders import placing, rules
from api.orders.facts import NOTHING_SENT
from api.orders.placing import Line, Payer, Price
from api.orders.rules import Facts, Order
from kernel.limits import MAX_NUMBER
from kernel.refusals import Conflict, Invalid, Unknown
from schemas.order import OrderEvent
from tests.events import START
from tests.unit.contexts import context

PRICES = {
    "milk": Price(1, "Milk", "GROCERY", "DAIRY", "National", 150, "USD"),
    "wine": Price(1, "Wine", "GROCERY", "WINE", "Private", 999, "EUR"),
    "bread": Price(1, "Bread", "GROCERY", "BREAD", "Private", 275, "USD"),
}
ADA = Payer("ada", "tok_approved", timedelta(minutes=15))
MADE: Any = {"is_refused": False, "order_version": 1, "reason": None}
PAID: Any = {
    "authorized_minor": 725,
    "is_declined": False,
    "reason": None,
    "order_version": 2,
    "settled_version": 2,
    "paid_minor": 0,
}


def placed(**payer: Any) -> Order:
    """Three milks and a bread: 725."""
    return rules.evolve(placing.place("order", ADA._replace(**payer), [Line("milk", 3), Line("bread", 1)], PRICES, context()))


def after(order: Order, **facts: Any) -> tuple[Order, list[str]]:
    """The order once all that follows from the facts has happened, and what that was."""
    events = rules.run(order, cast("Facts", facts), context())
    return rules.evolve(events[-1]) if events else order, [event.type for event in events]


def confirmed() -> Order:
    return after(placed(), reservation=MADE, payment=PAID)[0]


def happened(event: OrderEvent | None) -> Order:
    assert event
    return rules.evolve(event)


def sent(**more: Any) -> Mapping[str, Any]:
    return {**NOTHING_SENT, **more}


def paid(order: Order, paid_minor: int) -> Mapping[str, Any]:
    """Payments have settled what is due now."""
    version = order.state["due_version"]
    return {**PAID, "order_version": version, "settled_version": version, "paid_minor": paid_minor}


def errors_of(lines: list[Line], prices: dict[str, Price] = PRICES) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as refused:
        placing.place("order", ADA, lines, prices, context())
    return [(error.field, error.message) for error in refused.value.errors]


def test_an_order_is_placed_at_the_prices_of_now_and_owes_its_total_until_a_time() -> None:
    event = placing.place("order", ADA, [Line("milk", 3), Line("bread", 1)], PRICES, context())
    assert (event.type, event.key, event.version) == ("OrderPlaced", "order", 1)
    assert (event.data["total_minor"], event.data["due_minor"], event.data["currency"]) == (725, 725, "USD")
    assert (event.data["placed_at"], event.data["pay_by"]) == (START, START + timedelta(minutes=15))
    assert event.data["lines"][0]["unit_price_minor"] == 150


def test_every_line_that_cannot_be_ordered_is_named() -> None:
    lines = [Line("milk", 1), Line("gold", 1), Line("milk", 2), Line("wine", 1)]
    assert errors_of(lines) == [
        ("lines.1.sku", "there is no product gold to order"),
        ("lines.2.sku", "milk is in line 0 already: add their quantities up"),
        ("lines.3.sku", "wine is priced in EUR, lines before it in USD"),
    ]


def test_a_total_that_cannot_be_counted_is_refused() -> None:
    dear = PRICES | {"milk": PRICES["milk"]._replace(price_minor=MAX_NUMBER // 2)}
    assert placing.place("order", ADA, [Line("milk", 2)], dear, context()).data["total_minor"] == MAX_NUMBER - 1
    assert errors_of([Line("milk", 3)], dear)[0][0] == "lines"


def test_what_is_reserved_and_authorized_is_confirmed_whichever_comes_first() -> None:
    order, events = after(placed(), reservation=MADE, payment=PAID)
    assert (order.state["status"], events) == ("confirmed", ["OrderReserved", "OrderConfirmed"])
    assert after(placed(), payment=PAID)[1] == []
    assert after(after(placed(), reservation=MADE)[0], reservation=MADE, payment=PAID)[1] == ["OrderConfirmed"]


def test_an_order_without_stock_is_rejected_and_owes_nothing() -> None:
    order, events = after(placed(), reservation=MADE | {"is_refused": True, "reason": "not enough stock"}, payment=PAID)
    assert events == ["OrderRejected"]
    assert (order.state["status"], order.state["due_minor"], order.state["reason"]) == ("rejected", 0, "not enough stock")


@pytest.mark.parametrize(
    ("payment", "reason"),
    [
        ({"is_declined": True, "authorized_minor": None, "reason": "card_declined"}, "card_declined"),
        ({"is_declined": True, "authorized_minor": None}, rules.DECLINED),
        ({"authorized_minor": 724}, rules.OTHER_AMOUNT),
        ({"authorized_minor": 726}, rules.OTHER_AMOUNT),
    ],
)
def test_what_is_declined_or_authorized_for_another_amount_is_undone(payment: dict[str, Any], reason: str) -> None:
    order, events = after(placed(), reservation=MADE, payment=PAID | payment)
    assert events == ["OrderReserved", "OrderLinesCancelled"]
    assert (order.state["status"], order.state["due_minor"], order.state["reason"]) == ("undoing", 0, reason)


def test_an_authorization_of_an_older_due_says_nothing() -> None:
    reserved, _ = after(placed(), reservation=MADE)
    late = Order(reserved.version, {**reserved.state, "due_version": 9})
    assert after(late, reservation=MADE, payment=PAID)[1] == []


@pytest.mark.parametrize("facts", [{}, {"reservation": MADE}])
def test_the_time_to_pay_ends_what_is_not_confirmed(facts: dict[str, Any]) -> None:
    order, _ = after(placed(), **facts)
    undone = happened(rules.expire(order, context()))
    assert (undone.state["status"], undone.state["due_minor"]) == ("undoing", 0)
    assert undone.state["reason"] == (rules.UNPAID if facts else rules.UNANSWERED)
    assert rules.expire(undone, context()) is None
    assert rules.expire(confirmed(), context()) is None


def test_what_is_undone_waits_for_stock_and_money() -> None:
    order = happened(rules.cancel("order", placed(), None, None, context()))
    stock, money = MADE | {"order_version": order.version}, paid(order, 0)
    assert after(order, reservation=stock)[1] == []
    assert after(order, payment=money)[1] == []
    assert after(order, reservation=MADE, payment=money)[1] == [], "an answer to an older version"
    assert after(order, reservation=stock, payment={**money, "settled_version": 1})[1] == []
    assert after(order, reservation=stock, payment=money)[1] == ["OrderCancelled"]


def test_before_it_is_confirmed_only_the_whole_order_can_be_cancelled() -> None:
    with pytest.raises(Conflict, match="only the whole"):
        rules.cancel("order", placed(), {"milk": 1}, None, context())
    with pytest.raises(Unknown):
        rules.cancel("order", None, None, None, context())


def test_units_are_cancelled_as_far_as_shipping_has_stopped_them() -> None:
    asked = happened(rules.cancel("order", confirmed(), {"milk": 2}, None, context()))
    assert (asked.state["status"], asked.state["due_minor"]) == ("stopping", 725)
    assert after(asked, fulfilment=sent())[1] == []
    order, events = after(asked, fulfilment=sent(answered=1, stopped={"milk": 1}))
    assert (events, order.state["due_minor"]) == (["OrderLinesCancelled"], 575)
    done, events = after(order, fulfilment=sent(answered=1, stopped={"milk": 1}), reservation=MADE | {"order_version": order.version}, payment=paid(order, 0))
    assert (events, done.state["status"]) == (["OrderAmended"], "confirmed")


def test_a_cancel_of_what_is_all_gone_is_declined() -> None:
    asked = happened(rules.cancel("order", confirmed(), None, None, context()))
    order, events = after(asked, fulfilment=sent(answered=1))
    assert (events, order.state["status"], order.state["due_minor"]) == (["OrderCancelDeclined"], "confirmed", 725)


def test_the_answer_to_an_older_request_is_none() -> None:
    first = happened(rules.cancel("order", confirmed(), {"milk": 1}, None, context()))
    order, _ = after(first, fulfilment=sent(answered=1))
    second = happened(rules.cancel("order", order, {"milk": 1}, None, context()))
    assert second.state["cancel"] == {"number": 2, "units": [{"sku": "milk", "quantity": 1}]}
    assert after(second, fulfilment=sent(answered=1, stopped={"milk": 1}))[1] == []


def test_one_cancel_at_a_time_and_never_more_units_than_there_are() -> None:
    asked = happened(rules.cancel("order", confirmed(), {"milk": 1}, None, context()))
    with pytest.raises(Conflict, match="wait for that"):
        rules.cancel("order", asked, None, None, context())
    with pytest.raises(Invalid) as refused:
        rules.cancel("order", confirmed(), {"milk": 4, "gold": 1}, None, context())
    assert len(refused.value.errors) == 2


def test_what_is_lost_lowers_what_is_due_once_and_is_not_released() -> None:
    lost = sent(lost={"1": {"milk": 3, "bread": 1}})
    order, events = after(confirmed(), fulfilment=lost)
    assert (events, order.state["due_minor"], order.state["cancelled_minor"]) == (["OrderLinesLost"], 0, 0)
    assert after(order, fulfilment=lost)[1] == []


def test_each_lost_parcel_counts() -> None:
    first, _ = after(confirmed(), fulfilment=sent(lost={"1": {"milk": 1}}))
    both, events = after(first, fulfilment=sent(lost={"1": {"milk": 1}, "2": {"milk": 2}}))
    assert (events, both.state["due_minor"], both.state["shipments_lost"]) == (["OrderLinesLost"], 275, [1, 2])


def test_an_order_is_completed_when_all_is_delivered_or_lost_and_paid_for() -> None:
    order = confirmed()
    assert after(order, fulfilment=sent(delivered=3), payment=paid(order, 725))[1] == []
    assert after(order, fulfilment=sent(delivered=4), payment=paid(order, 724))[1] == []
    assert after(order, fulfilment=sent(delivered=4), payment={**paid(order, 725), "settled_version": 0})[1] == []
    assert after(order, fulfilment=sent(delivered=4), payment=paid(order, 725))[1] == ["OrderCompleted"]


def test_a_return_lowers_what_is_due_once() -> None:
    accepted = [{"number": 1, "value_minor": 150, "exchange_id": None}]
    order, events = after(confirmed(), returns=accepted)
    assert (events, order.state["due_minor"]) == (["OrderDueChanged"], 575)
    assert order.state["returns_taken"] == [{"number": 1, "version": order.version}]
    assert after(order, returns=accepted)[1] == []


def test_a_return_for_an_exchange_waits_for_the_credit() -> None:
    accepted = [{"number": 1, "value_minor": 150, "exchange_id": "x"}]
    assert after(confirmed(), returns=accepted)[1] == []
    order, _ = after(confirmed(), returns=accepted, given={"x": 100})
    assert (order.state["returned_minor"], order.state["credit_given_minor"], order.state["due_minor"]) == (150, 100, 675)
    less, events = after(order, returns=accepted, given={"x": 100}, used={"x": 40})
    assert (events, less.state["due_minor"]) == (["OrderDueChanged"], 615)


def test_an_order_in_exchange_owes_less_by_its_credit_and_gives_back_what_it_does_not_need() -> None:
    reserved, _ = after(placed(exchange_id="x"), reservation=MADE)
    credited, events = after(reserved, reservation=MADE, got=900)
    assert (events, credited.state["due_minor"], credited.state["credit_got_minor"]) == (["OrderDueChanged"], 0, 725)
    undone = happened(rules.cancel("order", credited, None, None, context()))
    order, events = after(undone, reservation=MADE, got=900)
    assert (events[0], order.state["credit_got_minor"], order.state["due_minor"]) == ("OrderCreditReturned", 0, 0)


def test_goodwill_lowers_what_is_due_and_never_below_nothing() -> None:
    order = happened(rules.goodwill("order", confirmed(), 725, "late", None, context()))
    assert order.state["due_minor"] == 0
    with pytest.raises(Invalid):
        rules.goodwill("order", order, 1, "late", None, context())
    with pytest.raises(Conflict):
        rules.goodwill("order", placed(), 1, "late", None, context())
    asked = happened(rules.cancel("order", order, {"milk": 1}, None, context()))
    assert after(asked, fulfilment=sent(answered=1, stopped={"milk": 1}))[0].state["due_minor"] == 0


def test_what_is_held_too_long_is_stopped() -> None:
    facts = cast("Facts", {"fulfilment": sent(held={"milk": 3})})
    order = happened(rules.give_up_held(confirmed(), facts, context()))
    assert (order.state["status"], order.state["reason"]) == ("stopping", rules.UNPAID)
    assert rules.give_up_held(order, facts, context()) is None
    assert rules.give_up_held(confirmed(), cast("Facts", {}), context()) is None


minor = st.integers(0, 2_000)


@given(st.tuples(minor, minor, minor, minor, minor, minor))
def test_what_is_due_is_what_the_sums_say_and_never_below_nothing(sums: tuple[int, ...]) -> None:
    names = ("cancelled", "lost", "returned", "goodwill", "credit_got", "credit_given")
    state: Any = {**confirmed().state, **{f"{name}_minor": value for name, value in zip(names, sums, strict=True)}}
    event = rules._event("OrderDueChanged", Order(3, state), context())  # noqa: SLF001  # the one place where it is worked out
    assert event.data["due_minor"] == max(0, 725 + sums[5] - sum(sums[:5]))
