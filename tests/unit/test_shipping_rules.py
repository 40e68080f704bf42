"""The rules of parcels: given the order and its payment, when something comes, then these events, or a refusal."""

from datetime import timedelta
from typing import Any, cast

import pytest

from api.shipping import rules
from api.shipping.rules import Facts, Fulfilment
from kernel.refusals import Conflict, Unknown
from schemas.fulfilment import FulfilmentEvent
from tests.events import START
from tests.unit.contexts import context

CONFIRMED: Any = {
    "order_id": "order",
    "customer_id": "ada",
    "currency": "USD",
    "units": [{"sku": "milk", "quantity": 3, "unit_price_minor": 150}, {"sku": "bread", "quantity": 1, "unit_price_minor": 275}],
}


class Told:
    """Parcels to which things are told, and what was said."""

    def __init__(self) -> None:
        self.now = Fulfilment("order", 0, None, {})
        self.events: list[str] = []
        self.hear(confirmed=CONFIRMED)

    def hear(self, **facts: Any) -> None:
        self.now = self.now._replace(facts=cast("Facts", {**self.now.facts, **facts}))
        self._went_on(rules.run(self.now, context()))

    def happen(self, event: FulfilmentEvent | None) -> None:
        self._went_on([event] if event else [])
        self._went_on(rules.run(self.now, context()))

    def pack(self, number: int = 1) -> None:
        self.happen(rules.pack("order", self.now, number, context()))

    def dispatch(self, number: int = 1) -> None:
        self.happen(rules.label(self.now, number, f"C{number}", 3, context()))
        self.happen(rules.dispatch("order", self.now, number, context()))

    def scan(self, what: Any, number: int = 1) -> None:
        self.happen(rules.scan(self.now, number, what, context()))

    def paid(self, *captured: int, is_declined: bool = False) -> None:
        self.hear(payment={"captured": list(captured), "is_declined": is_declined})

    def stop(self, number: int, **units: int) -> dict[str, int]:
        self.hear(stop={"number": number, "units": units})
        answered = self.state["answered"]
        assert answered
        assert answered["number"] == number
        return {each["sku"]: each["quantity"] for each in answered["stopped"]}

    @property
    def state(self) -> rules.State:
        assert self.now.state
        return self.now.state

    @property
    def statuses(self) -> list[str]:
        return [each["status"] for each in self.state["shipments"]]

    @property
    def cases(self) -> list[str]:
        return [each["kind"] for each in self.state["cases"]]

    def _went_on(self, events: list[Any]) -> None:
        for event in events:
            self.now = rules.evolve(self.now, event)
            self.events.append(event.type)


def sent() -> Told:
    told = Told()
    told.pack()
    told.paid(1)
    told.dispatch()
    return told


def test_a_confirmed_order_is_planned_once_in_parcels_of_so_many_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MOST_LINES", 1)
    told = Told()
    assert (told.events, told.statuses) == (["ShipmentsPlanned"], ["planned", "planned"])
    assert [each["amount_minor"] for each in told.state["shipments"]] == [450, 275]
    told.hear(confirmed=CONFIRMED)
    assert told.events == ["ShipmentsPlanned"]


def test_a_parcel_goes_when_it_is_packed_and_paid_for_and_has_its_label() -> None:
    told = Told()
    with pytest.raises(Conflict, match="is planned"):
        rules.dispatch("order", told.now, 1, context())
    told.pack()
    with pytest.raises(Conflict, match="is packed"):
        rules.dispatch("order", told.now, 1, context())
    told.paid(1)
    assert told.statuses == ["ready"]
    with pytest.raises(Conflict, match="label"):
        rules.dispatch("order", told.now, 1, context())
    told.dispatch()
    [parcel] = told.state["shipments"]
    assert (parcel["status"], parcel["tracking"]) == ("dispatched", "C1")
    assert parcel["expected_by"] == START + timedelta(days=3) + rules.GRACE
    with pytest.raises(Conflict, match="dispatched"):
        rules.pack("order", told.now, 1, context())


def test_a_parcel_that_is_not_paid_for_is_not_ready() -> None:
    told = Told()
    told.pack()
    told.paid()
    assert told.statuses == ["packed"]
    told.paid(2)
    assert told.statuses == ["packed"]


def test_a_parcel_whose_card_is_declined_is_held_until_it_is_paid_for() -> None:
    told = Told()
    told.pack()
    told.paid(is_declined=True)
    assert (told.statuses, told.cases) == (["held"], ["held"])
    told.paid(1)
    assert (told.statuses, told.cases) == (["ready"], [])


def test_what_is_furthest_from_leaving_is_stopped_first_and_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MOST_LINES", 1)
    told = Told()
    told.now = told.now._replace(state=cast("Any", {**told.state, "shipments": [
        {**each, "units": [{"sku": "milk", "quantity": 2, "unit_price_minor": 150}], "amount_minor": 300} for each in told.state["shipments"]
    ]}))
    told.pack(1)
    assert told.stop(1, milk=2) == {"milk": 2}
    assert told.statuses == ["packed", "cancelled"]
    told.hear(stop={"number": 1, "units": {"milk": 2}})
    assert told.events.count("FulfilmentAnswered") == 1
    assert told.stop(2, milk=1) == {"milk": 1}
    assert (told.state["shipments"][0]["amount_minor"], told.statuses[0]) == (150, "packed")


def test_what_has_left_the_house_is_not_stopped_and_the_answer_says_so() -> None:
    assert sent().stop(1, milk=3) == {}


@pytest.mark.parametrize("what", ["delivered", "lost"])
def test_a_parcel_arrives_or_is_lost_once(what: str) -> None:
    told = sent()
    told.scan(what)
    told.scan(what)
    assert (told.statuses, told.state["status"], told.cases) == ([what], "finished", [])
    assert told.events.count("ShipmentDelivered") + told.events.count("ShipmentLost") == 1


def test_a_scan_that_says_otherwise_is_a_case_and_changes_nothing_else() -> None:
    told = sent()
    told.scan("lost")
    told.scan("delivered")
    told.scan("delivered")
    assert (told.statuses, told.cases, told.events.count("ShipmentContradicted")) == (["lost"], ["contradicted"], 1)
    told.happen(rules.rule("order", told.now, 1, "delivered", "seen", context()))
    assert (told.statuses, told.cases, told.events[-1]) == (["lost"], [], "ShipmentRuled")


def test_a_parcel_that_is_overdue_is_a_case_until_it_is_found() -> None:
    told = sent()
    late = context()._replace(now=START + timedelta(days=5))
    assert rules.find_overdue(told.now, late._replace(now=late.now - timedelta(microseconds=1))) is None
    told.happen(rules.find_overdue(told.now, late))
    assert (told.statuses, told.cases) == (["overdue"], ["overdue"])
    assert rules.find_overdue(told.now, late) is None
    told.happen(rules.rule("order", told.now, 1, "lost", "asked the carrier", context()))
    assert (told.statuses, told.cases) == (["lost"], [])


def test_the_carrier_may_find_what_is_overdue_after_all() -> None:
    told = sent()
    told.happen(rules.find_overdue(told.now, context()._replace(now=START + timedelta(days=9))))
    told.scan("delivered")
    assert told.statuses == ["delivered"]


def test_a_label_for_a_parcel_that_is_not_there_any_more_is_of_no_use() -> None:
    told = Told()
    told.pack()
    told.paid(1)
    told.stop(1, milk=3, bread=1)
    assert rules.label(told.now, 1, "C1", 3, context()) is None


def test_only_what_is_there_is_packed_and_only_what_needs_somebody_ruled() -> None:
    told = Told()
    with pytest.raises(Unknown):
        rules.pack("order", None, 1, context())
    with pytest.raises(Unknown, match="shipment 9"):
        rules.pack("order", told.now, 9, context())
    with pytest.raises(Conflict, match="nobody"):
        rules.rule("order", told.now, 1, "lost", "seen", context())
