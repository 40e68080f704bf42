"""The orchestrator of an exchange: given its step, when an answer comes, then it goes on, or fails; other answers do not count."""

from typing import Any, cast

import pytest

from api.orders import exchanges as rules
from api.orders.exchanges import Exchange, Facts
from tests.unit.contexts import context


def requested() -> Exchange:
    return rules.evolve(rules.request("x", "old", "new", "ada", {"milk": 1}, context()))


def after(exchange: Exchange, **facts: Any) -> tuple[Exchange, list[str]]:
    events = rules.run(exchange, cast("Facts", facts), context())
    return rules.evolve(events[-1]) if events else exchange, [event.type for event in events]


def new(status: str, total_minor: int = 500, reason: str | None = None) -> Any:
    return {"status": status, "total_minor": total_minor, "reason": reason}


def back(status: str, value_minor: int = 0, reason: str | None = None) -> Any:
    return {"number": 1, "status": status, "value_minor": value_minor, "reason": reason}


def returning() -> Exchange:
    return after(requested(), new_order=new("reserved"))[0]


def crediting() -> Exchange:
    return after(returning(), new_order=new("reserved"), returned=back("accepted", 150))[0]


def test_the_return_is_wanted_once_the_new_order_is_reserved() -> None:
    assert after(requested(), new_order=new("placed"))[1] == []
    exchange, events = after(requested(), new_order=new("reserved"))
    assert (events, exchange.state["step"]) == (["ExchangeReturnWanted"], "returning")


@pytest.mark.parametrize(("value_minor", "total_minor", "credit_minor"), [(150, 500, 150), (600, 500, 500), (0, 500, 0)])
def test_the_credit_is_what_came_back_is_worth_and_no_more_than_the_new_order_costs(value_minor: int, total_minor: int, credit_minor: int) -> None:
    exchange, events = after(returning(), new_order=new("reserved", total_minor), returned=back("accepted", value_minor))
    assert (events, exchange.state["step"]) == (["CreditDecided"], "crediting")
    assert (exchange.state["value_minor"], exchange.state["credit_minor"]) == (value_minor, credit_minor)


@pytest.mark.parametrize("status", ["requested", "approved", "received"])
def test_a_return_that_is_under_way_decides_nothing(status: str) -> None:
    assert after(returning(), new_order=new("reserved"), returned=back(status))[1] == []


@pytest.mark.parametrize("step", [requested, returning, crediting])
@pytest.mark.parametrize("status", ["rejected", "undoing", "cancelled"])
def test_it_fails_when_the_new_order_is_undone_with_its_reason(step: Any, status: str) -> None:
    exchange, events = after(step(), new_order=new(status, reason="not enough stock"))
    assert (events, exchange.state["step"], exchange.state["reason"]) == (["ExchangeFailed"], "failed", "not enough stock")


@pytest.mark.parametrize("status", ["rejected", "cancelled", "expired"])
def test_it_fails_when_nothing_comes_back(status: str) -> None:
    exchange, events = after(returning(), new_order=new("reserved"), returned=back(status, reason="opened"))
    assert (events, exchange.state["reason"], exchange.state["credit_minor"]) == (["ExchangeFailed"], "opened", 0)


def test_only_the_answer_that_the_step_waits_for_counts() -> None:
    assert after(requested(), returned=back("accepted", 150))[1] == []
    assert after(crediting(), new_order=new("reserved"), returned=back("rejected"))[1] == []
    finished, events = after(crediting(), new_order=new("confirmed"))
    assert events == ["ExchangeFinished"]
    assert after(finished, new_order=new("cancelled"), returned=back("rejected"))[1] == []


def test_answers_that_came_early_are_taken_when_their_step_comes() -> None:
    _, events = after(requested(), new_order=new("reserved"), returned=back("accepted", 150))
    assert events == ["ExchangeReturnWanted", "CreditDecided"]


def test_the_time_is_over_only_while_it_waits_for_stock_or_for_what_comes_back() -> None:
    for step in (requested, returning):
        event = rules.give_up(step(), context())
        assert event
        assert (event.type, event.data["reason"]) == ("ExchangeFailed", rules.TOO_LATE)
    assert rules.give_up(crediting(), context()) is None
