"""The rules of returns: given what has arrived, when something comes, then this event, or a refusal."""

from datetime import timedelta
from typing import Any, cast

import pytest

from api.shipping import returns as rules
from api.shipping.returns import WITHIN, Delivered, Facts, Returns
from kernel.refusals import Conflict, Invalid, Unknown
from schemas.returns import ReturnsEvent
from tests.events import START
from tests.unit.contexts import context

ARRIVED = Delivered("order", "ada", "USD", {"milk": 150, "bread": 275}, {"milk": 2})
NONE = Returns("order", 0, None, {})


def request(now: Returns = NONE, delivered: Delivered | None = ARRIVED, **units: int) -> ReturnsEvent:
    return rules.request("order", now, delivered, units or {"milk": 1}, None, WITHIN, context())


def after(*steps: str) -> Returns:
    """A return that has gone so far."""
    now = rules.evolve(NONE, request())
    for step in steps:
        now = rules.evolve(now, do(now, step))
    return now


def do(now: Returns, step: str) -> ReturnsEvent:
    match step:
        case "approve":
            return rules.approve(now, 1, WITHIN, context())
        case "reject":
            return rules.reject(now, 1, "opened", context())
        case "cancel":
            return rules.cancel(now, 1, context())
        case "receive":
            return rules.receive(now, 1, context())
    return rules.accept(now, 1, ARRIVED, None, True, context())  # noqa: FBT003


def status(now: Returns) -> str:
    assert now.state
    return now.state["returns"][0]["status"]


#: Each step's name is that of what it does; by status, those that are allowed.
ALLOWED = {
    (): {"approve", "reject", "cancel"},
    ("approve",): {"receive", "cancel"},
    ("approve", "receive"): {"accept", "reject"},
    ("approve", "receive", "accept"): set(),
    ("reject",): set(),
    ("cancel",): set(),
}


@pytest.mark.parametrize("steps", ALLOWED)
@pytest.mark.parametrize("step", ["approve", "reject", "cancel", "receive", "accept"])
def test_a_return_goes_only_where_it_may(steps: tuple[str, ...], step: str) -> None:
    now = after(*steps)
    if step in ALLOWED[steps]:
        assert do(now, step).version == now.version + 1
    else:
        with pytest.raises(Conflict):
            do(now, step)


def test_units_come_back_only_once_and_only_when_they_have_arrived() -> None:
    two = rules.evolve(after(), request(after(), milk=1))
    with pytest.raises(Invalid):
        request(two, milk=1)
    with pytest.raises(Invalid):
        request(bread=1)
    with pytest.raises(Unknown):
        request(delivered=None)
    assert request(after("cancel"), milk=2).data["returns"][1]["units"] == [{"sku": "milk", "quantity": 2}]


def test_an_order_has_so_many_returns_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MOST_RETURNS", 1)
    with pytest.raises(Conflict, match="too much"):
        request(after("cancel"))


def test_a_return_is_worth_what_it_cost_or_less() -> None:
    received = after("approve", "receive")
    accepted = do(received, "accept").data["returns"][0]
    assert (accepted["value_minor"], accepted["is_restocked"]) == (150, True)
    assert rules.accept(received, 1, ARRIVED, 0, False, context()).data["returns"][0]["value_minor"] == 0  # noqa: FBT003
    with pytest.raises(Invalid):
        rules.accept(received, 1, ARRIVED, 151, True, context())  # noqa: FBT003


@pytest.mark.parametrize("steps", [(), ("approve",)])
def test_what_does_not_come_in_time_expires_and_what_has_come_does_not(steps: tuple[str, ...]) -> None:
    late = context()._replace(now=START + WITHIN)
    early = late._replace(now=late.now - timedelta(microseconds=1))
    assert rules.find_expired(after(*steps), early) is None
    expired = rules.find_expired(after(*steps), late)
    assert expired
    assert status(rules.evolve(after(*steps), expired)) == "expired"
    assert rules.find_expired(after("approve", "receive"), late) is None


def test_it_is_refunded_once_the_order_has_taken_it_in_and_payments_have_settled_that_in_either_order() -> None:
    now = after("approve", "receive", "accept")

    def then(**facts: Any) -> list[str]:
        return [event.type for event in rules.run(now._replace(facts=cast("Facts", facts)), context())]

    taken = {"versions": {"1": 5}}
    assert then(order=taken) == then(settled_version=9) == then(order=taken, settled_version=4) == []
    assert then(order=taken, settled_version=5) == ["ReturnRefunded"]


def test_an_exchange_gets_its_return_once_or_a_refusal_that_it_can_go_on_by() -> None:
    wanted: Any = {"exchange_id": "x", "units": {"milk": 1}}
    asked = rules.request_for_exchange(NONE, ARRIVED, wanted, WITHIN, context())
    assert asked
    assert (asked.type, asked.data["returns"][0]["exchange_id"]) == ("ReturnRequested", "x")
    assert rules.request_for_exchange(rules.evolve(NONE, asked), ARRIVED, wanted, WITHIN, context()) is None
    for delivered in (None, ARRIVED._replace(units={})):
        refused = rules.request_for_exchange(NONE, delivered, wanted, WITHIN, context())
        assert refused
        assert (refused.type, refused.data["returns"][0]["status"]) == ("ReturnRejected", "rejected")


def test_there_has_to_be_such_a_return() -> None:
    with pytest.raises(Unknown):
        rules.cancel(NONE, 1, context())
