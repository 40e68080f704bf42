"""The rules of payments: given what is due and what was asked of the provider, when something is known, then this is next."""

from typing import Any, cast

import pytest

from api.orders.facts import of_payment
from api.payments import rules
from api.payments.rules import Facts, Payment, Result
from kernel.refusals import Conflict, Unknown
from schemas.payment import Operation
from tests.unit.contexts import context


class Told:
    """A payment to which things are told; what was asked of the provider, and what was said."""

    def __init__(self, due_minor: int = 300, **order: Any) -> None:
        wanted: Any = {"order_id": "order", "customer_id": "ada", "currency": "USD", "status": "reserved", "card_token": "tok"}
        self.payment = Payment("order", 0, None, {})
        self.events: list[str] = []
        self.hear(order={**wanted, "order_version": 2, "due_minor": due_minor, "may_authorize": True, "cancel_number": 0, **order})

    def hear(self, **facts: Any) -> None:
        self._go_on(self.payment._replace(facts=cast("Facts", {**self.payment.facts, **facts})))

    def due(self, minor: int, version: int, status: str = "undoing") -> None:
        self.hear(order={**self.payment.facts["order"], "due_minor": minor, "order_version": version, "status": status})

    def packed(self, all_gone: bool = False, **amounts: int) -> None:  # noqa: FBT001, FBT002  a fact
        self.hear(fulfilment={"packed": {number.removeprefix("n"): minor for number, minor in amounts.items()}, "all_gone": all_gone, "answered": 0})

    def answer(self, *, is_done: bool = True, minor: int | None = None, code: str | None = None, number: int | None = None) -> None:
        asked = self.payment.facts.get("asked")
        amount = minor if minor is not None else asked["amount_minor"] if asked else 0
        result = Result(number or (asked["number"] if asked else 0), is_done, amount if is_done else 0, "auth_1" if is_done else None, code)
        if event := rules.record(self.payment, result, context()):
            self.events.append(event.type)
            self._go_on(rules.evolve(self.payment, event))

    def rule(self, number: int, outcome: Any) -> None:
        event = rules.rule("order", self.payment, number, outcome, "seen", context())
        self.events.append(event.type)
        self._go_on(rules.evolve(self.payment, event))

    def unanswered(self, *, is_given_up: bool = False) -> None:
        asked = self.payment.facts["asked"]
        assert asked
        if event := rules.unanswered(self.payment, asked["number"], "no answer", is_given_up=is_given_up, context=context()):
            self.events.append(event.type)
            self._go_on(rules.evolve(self.payment, event))

    def change_card(self) -> None:
        event = rules.change_card("order", self.payment, "tok_2", context())
        self.events.append(event.type)
        self._go_on(rules.evolve(self.payment, event))

    @property
    def asked(self) -> Any:
        asked: Operation | None = self.payment.facts.get("asked")
        return (asked["kind"], asked["amount_minor"]) if asked else None

    @property
    def state(self) -> rules.State:
        assert self.payment.state
        return self.payment.state

    @property
    def cases(self) -> list[str]:
        return [case["kind"] for case in self.state["cases"]]

    def _go_on(self, payment: Payment) -> None:
        self.payment, events = rules.advance(payment, context())
        self.events += [event.type for event in events]


def authorized(due_minor: int = 300) -> Told:
    told = Told(due_minor)
    told.answer()
    return told


def captured() -> Told:
    told = authorized()
    told.packed(n1=300)
    told.answer()
    return told


def test_what_is_due_is_authorized_and_then_nothing_is_asked() -> None:
    told = Told()
    assert told.asked == ("authorize", 300)
    told.answer()
    assert (told.asked, told.events, told.state["authorized_minor"]) == (None, ["PaymentAuthorized"], 300)
    assert told.state["settled_version"] == 2


def test_orders_do_not_take_a_voided_authorization_for_one() -> None:
    told = authorized()
    assert of_payment(told.state)["authorized_minor"] == 300
    told.due(0, 3)
    told.answer()
    assert of_payment(told.state)["authorized_minor"] is None


def test_where_nothing_is_due_the_provider_is_not_asked() -> None:
    told = Told(0)
    assert (told.asked, told.events) == (None, ["PaymentAuthorized"])
    told.packed(n1=0)
    assert (told.asked, told.events) == (None, ["PaymentAuthorized", "PaymentCaptured"])


def test_an_order_in_exchange_is_authorized_when_it_is_credited() -> None:
    told = Told(may_authorize=False)
    assert (told.asked, told.events) == (None, ["PaymentSettled"])
    told.hear(order={**told.payment.facts["order"], "may_authorize": True, "cancel_number": 0, "order_version": 3, "due_minor": 200})
    assert told.asked == ("authorize", 200)


def test_a_declined_card_waits_for_another() -> None:
    told = Told()
    told.answer(is_done=False, code="card_declined")
    assert (told.events, told.asked, told.state["is_declined"], told.state["reason"]) == (["PaymentDeclined"], None, True, "card_declined")
    told.change_card()
    assert (told.asked, told.payment.state and told.payment.state["card_token"]) == (("authorize", 300), "tok_2")


def test_a_card_that_has_less_is_asked_once() -> None:
    told = Told()
    told.answer(minor=150)
    assert (told.asked, told.events) == (None, ["PaymentDeclined"])
    told.due(0, 3)
    assert told.asked == ("void", 150)


def test_each_packed_parcel_is_captured_and_never_more_than_is_due() -> None:
    told = authorized()
    told.packed(n1=100, n2=200)
    assert told.asked == ("capture", 100)
    told.due(250, 5, "confirmed")
    told.answer()
    assert told.asked == ("capture", 150)
    told.answer()
    assert (told.asked, told.state["captured_minor"]) == (("void", 50), 250)


def test_one_operation_is_under_way_at_a_time() -> None:
    told = Told()
    told.due(0, 3)
    told.packed(n1=300)
    assert told.asked == ("authorize", 300)


def test_what_was_paid_too_much_is_refunded_and_what_is_held_for_nothing_let_go() -> None:
    told = captured()
    told.due(100, 5)
    assert told.asked == ("refund", 200)
    told.answer()
    assert (told.asked, told.state["refunded_minor"], told.state["settled_version"]) == (None, 200, 5)
    told.due(99, 6)
    assert told.asked == ("refund", 1)
    told = authorized()
    told.due(0, 3)
    assert told.asked == ("void", 300)
    told.answer()
    assert (told.events, told.asked) == (["PaymentAuthorized", "PaymentVoided"], None)


def test_a_capture_that_comes_after_the_cancel_is_refunded() -> None:
    told = authorized()
    told.packed(n1=300)
    told.due(0, 4)
    told.answer()
    assert told.asked == ("refund", 300)


def test_nobody_knows_is_said_once_and_the_operation_goes_on() -> None:
    told = Told()
    told.unanswered()
    told.unanswered()
    assert (told.events, told.asked, told.state["status"], told.state["settled_version"]) == (["PaymentUnknown"], ("authorize", 300), "unknown", 0)
    told.answer()
    assert (told.events, told.state["status"]) == (["PaymentUnknown", "PaymentAuthorized"], "authorized")


def test_what_is_given_up_is_a_case_until_its_answer_comes() -> None:
    told = Told()
    told.unanswered(is_given_up=True)
    assert told.cases == ["unanswered"]
    told.answer()
    assert (told.cases, told.asked) == ([], None)


def test_the_same_answer_again_says_nothing_and_a_contradicting_one_is_a_case() -> None:
    told = captured()
    told.answer(number=2)
    assert told.events == ["PaymentAuthorized", "PaymentCaptured"]
    told.answer(number=2, is_done=False, code="mistaken")
    assert (told.events[-1], told.cases, told.asked) == ("PaymentDisputed", ["disputed"], None)


def test_while_money_that_moved_is_disputed_nothing_is_asked_and_nothing_settled() -> None:
    told = captured()
    told.answer(number=2, is_done=False, code="mistaken")
    told.due(0, 7)
    assert (told.asked, told.state["settled_version"]) == (None, 2)
    told.rule(2, "succeeded")
    assert told.asked == ("refund", 300)


def test_what_is_given_back_too_much_by_a_ruling_is_written_off() -> None:
    told = captured()
    told.due(0, 5)
    told.answer()
    told.answer(number=2, is_done=False, code="mistaken")
    told.rule(2, "failed")
    assert (told.state["written_off_minor"], rules.paid(told.state), told.asked, told.cases) == (300, 0, ("void", 300), [])


def test_an_authorization_that_expired_is_made_again_only_for_what_is_still_due() -> None:
    told = authorized()
    told.answer(number=1, is_done=False, code="expired")
    assert (told.events[-1], told.asked) == ("AuthorizationExpired", ("authorize", 300))
    told = captured()
    told.answer(number=1, is_done=False, code="expired")
    assert told.asked is None


def test_a_void_of_what_is_gone_says_that_it_has_expired() -> None:
    told = authorized()
    told.due(0, 3)
    told.answer(is_done=False, code="gone")
    assert (told.events[-1], told.asked, told.state["settled_version"]) == ("AuthorizationExpired", None, 3)


@pytest.mark.parametrize(("kind", "event"), [("void", "VoidFailed"), ("refund", "RefundFailed")])
def test_what_fails_is_asked_again_and_then_a_case(kind: str, event: str) -> None:
    told = authorized() if kind == "void" else captured()
    told.due(0, 5)
    for _ in range(rules.MOST_FAILURES):
        assert told.asked == (kind, 300)
        told.answer(is_done=False, code="no")
    assert (told.events.count(event), told.asked, told.cases) == (rules.MOST_FAILURES, None, [f"{kind} failed"])
    last = len(told.state["operations"])
    told.rule(last, "failed")
    assert (told.asked, told.cases) == ((kind, 300), []), "a ruling lets it begin anew"


def test_a_refund_that_fails_later_is_made_again_and_older_news_of_it_is_none() -> None:
    told = captured()
    told.due(0, 5)
    told.answer()
    told.answer(number=3, is_done=False, code="refund_failed")
    assert (told.events[-1], told.asked) == ("RefundFailed", ("refund", 300))
    told.answer(number=3)
    assert (told.events[-1], told.cases) == ("RefundFailed", [])


def test_a_card_that_refused_a_capture_is_not_asked_again_and_let_go_when_another_has_paid() -> None:
    told = authorized()
    told.packed(n1=300)
    told.answer(is_done=False, code="card_declined")
    assert (told.events[-1], told.asked, told.state["is_declined"]) == ("CaptureFailed", None, True)
    told.change_card()
    assert told.asked == ("authorize", 300)
    told.answer()
    assert told.asked == ("capture", 300)
    told.answer()
    assert told.asked == ("void", 300)


def test_of_two_cards_the_newer_is_held_and_the_other_let_go() -> None:
    told = authorized()
    told.packed(n1=100)
    told.answer(is_done=False, code="card_declined")
    told.change_card()
    told.answer()
    assert told.asked == ("capture", 100)
    told.answer()
    assert (told.asked, told.state["captured_minor"]) == (("void", 300), 100)
    told.answer()
    assert (told.asked, told.state["authorized_minor"]) == (None, 200)


def test_less_paid_than_due_when_all_is_gone_is_a_case() -> None:
    told = authorized()
    told.packed(n1=300)
    told.answer()
    told.packed(all_gone=True)
    told.due(400, 7, "confirmed")
    told.answer(is_done=False, code="card_declined")
    assert told.cases == ["uncollected"]
    told.due(300, 8, "confirmed")
    assert (told.cases, told.state["settled_version"]) == ([], 8)


def test_only_what_needs_somebody_can_be_ruled() -> None:
    told = captured()
    with pytest.raises(Conflict):
        rules.rule("order", told.payment, 2, "failed", "seen", context())
    with pytest.raises(Unknown):
        rules.rule("order", None, 1, "failed", "seen", context())
    given_up = Told()
    given_up.unanswered(is_given_up=True)
    with pytest.raises(Conflict, match="reference"):
        given_up.rule(1, "succeeded")
    given_up.rule(1, "failed")
    assert given_up.asked == ("authorize", 300)


def test_a_card_is_changed_only_while_something_is_to_be_paid() -> None:
    with pytest.raises(Conflict):
        captured().change_card()
    with pytest.raises(Unknown):
        rules.change_card("order", None, "tok", context())


def test_a_payment_takes_no_card_after_too_many_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MOST_OPERATIONS", 1)
    told = Told()
    told.answer(is_done=False, code="card_declined")
    with pytest.raises(Conflict, match="cancel it"):
        told.change_card()


def test_an_answer_about_an_operation_that_was_never_asked_is_unknown() -> None:
    with pytest.raises(Unknown):
        captured().answer(number=9)
