"""`python -m ops status`, `verify` and `rebuild`: what they print, and when they exit with 1."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from psycopg2 import OperationalError
from typer.testing import CliRunner

from ops import console, consumers, due, health, status
from ops import rebuild as rebuilding
from ops.__main__ import cli
from ops.comparisons import CannotVerify
from ops.consumers import Fare
from ops.due import Waiting
from ops.generations import rebuildable
from ops.rebuild import Progress, Rebuilt
from ops.relay import Relay
from ops.verify import Difference, Verified


def no_relays() -> list[Relay]:
    raise OperationalError("no route\nat all")


@pytest.fixture(autouse=True)
def _nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else is asked, and nothing has been noted."""
    monkeypatch.setenv("MAREA_ADMIN_DATABASE_URL", "postgresql://127.0.0.1:1/nowhere")
    monkeypatch.setattr(health, "LOOKS", {})
    monkeypatch.setattr(status, "relays", list)
    monkeypatch.setattr(due, "waiting", list)


def ops(*arguments: str) -> tuple[int, str]:
    """The exit code, and what was printed."""
    result = CliRunner().invoke(cli, arguments)
    return result.exit_code, result.output


@pytest.mark.parametrize(("fare", "code"), [(Fare("view.order", 0), 0), (Fare("view.order", 7, stands=(1,)), 1)])
def test_status_fails_a_check_if_a_consumer_stands_still(
    monkeypatch: pytest.MonkeyPatch, fare: Fare, code: int
) -> None:
    monkeypatch.setattr(consumers, "fares", lambda: [fare])
    assert ops("status")[0] == 0
    found, printed = ops("status", "--check")
    assert (found, printed.splitlines()[0].startswith("View.order stands still: 7 events")) == (code, code == 1)


def test_status_tells_what_is_not_known_and_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "relays", no_relays)
    monkeypatch.setattr(consumers, "fares", lambda: [Fare("view.order", 0)])
    _, printed = ops("status", "--json")
    found = json.loads(printed)
    assert found["relays"] == "no route"
    assert [each["name"] for each in found["consumers"]] == ["view.order"]


def test_status_tells_deadlines_and_tasks_by_state_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    found = [
        Waiting("deadline", "orders", "pay_by", "waiting", 12, now + timedelta(seconds=90.5), None),
        Waiting("task", "orders", "call", "given up", 1, now - timedelta(seconds=60), "503"),
    ]
    monkeypatch.setattr(due, "waiting", lambda: found)
    monkeypatch.setattr(consumers, "fares", list)
    _, printed = ops("status", "--json")
    told = json.loads(printed)["due"]
    assert [(each["name"], each["state"], each["number"]) for each in told] == [
        ("pay_by", "waiting", 12),
        ("call", "given up", 1),
    ]
    assert [round(each["age_s"], -1) for each in told] == [-90, 60]
    _, printed = ops("status")
    assert "deadline orders.pay_by" in printed
    assert "in 90 s" in printed
    assert "60 s ago" in printed


def test_deadlines_that_are_long_overdue_and_tasks_given_up_are_troubles() -> None:
    now = datetime.now(UTC)
    overdue, fine = now - due.LATE - timedelta(seconds=1), now - due.LATE + timedelta(seconds=1)
    found = [
        Waiting("deadline", "orders", "a", "due", 2, overdue, None),
        Waiting("deadline", "orders", "b", "failing", 1, overdue, "KeyError: 'x'"),
        Waiting("deadline", "orders", "c", "due", 1, fine, None),
        Waiting("deadline", "orders", "d", "waiting", 1, now + due.LATE, None),
        Waiting("task", "orders", "e", "given up", 3, fine, "503"),
        Waiting("task", "orders", "f", "waiting", 3, overdue, None),
    ]
    assert [(each.what, each.still) for each in due.troubles(found, now)] == [
        ("the deadline a of orders", True),
        ("the deadline b of orders", True),
        ("the task e of orders", False),
    ]
    assert due.troubles(found, now)[1].why == "1 are overdue: KeyError: 'x'"


def test_status_tells_that_consumers_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def unanswered() -> list[Fare]:
        raise OperationalError("no route")

    monkeypatch.setattr(consumers, "fares", unanswered)
    code, printed = ops("status", "--check")
    assert code == 1
    assert printed.startswith("The state of the consumers needs attention: it is not known: OperationalError: no route")


@pytest.mark.parametrize(("differing", "code"), [({}, 0), ({"view.order": 1}, 1)])
def test_verify_fails_if_anything_differs(
    monkeypatch: pytest.MonkeyPatch, differing: dict[str, int], code: int
) -> None:
    differences = [Difference(name, "a", "version", 2, 1) for name in differing]
    monkeypatch.setattr(console, "compare", lambda: Verified({"view.order": 3}, differing, differences))
    found, printed = ops("verify")
    assert (found, "view.order a version: expected 2, actual 1" in printed) == (code, bool(code))
    found, printed = ops("verify", "--json")
    assert (found, json.loads(printed)["differences"]) == (code, code)


def test_what_verify_can_not_compare_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def compare() -> Verified:
        raise CannotVerify("ClickHouse has no table orders")

    monkeypatch.setattr(console, "compare", compare)
    assert ops("verify") == (1, "ClickHouse has no table orders\n")


class Rebuilds:
    """In place of rebuilding: what was asked for, and what becomes of it."""

    def __init__(self, differing: int) -> None:
        self.differing = differing
        self.asked: list[tuple[str, int, bool]] = []

    def __call__(self, name: str, workers: int, on_progress: Progress, *, accept_differences: bool) -> Rebuilt:
        self.asked.append((name, workers, accept_differences))
        return Rebuilt(10, 5.0, self.differing == 0, self.differing)


@pytest.fixture
def other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other code has written to one view and to one table."""
    monkeypatch.setattr(rebuilding, "changed", lambda: ["stock", "orders"])


@pytest.mark.parametrize(
    ("arguments", "differing", "asked", "code"),
    [
        (["order"], 0, [("order", 2, False)], 0),
        (["order", "--workers", "3"], 1, [("order", 3, False)], 1),
        (["order", "--accept-differences"], 1, [("order", 2, True)], 0),
        (["--changed"], 1, [("stock", 2, True), ("orders", 2, True)], 0),
        (["order", "--changed"], 0, [], 0),
        (["all"], 0, [(name, 2, False) for name in rebuildable()], 0),
    ],
)
@pytest.mark.usefixtures("other_code")
def test_rebuild_makes_anew_what_is_meant_and_fails_if_it_did_not_go_live(
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    differing: int,
    asked: list[tuple[str, int, bool]],
    code: int,
) -> None:
    rebuilds = Rebuilds(differing)
    monkeypatch.setattr(console, "make_anew", rebuilds)
    found, printed = ops("rebuild", *arguments)
    assert (found, rebuilds.asked) == (code, asked)
    assert ("what is not identical did not go live" in printed) == bool(code)


def test_what_there_is_not_can_not_be_rebuilt() -> None:
    code, printed = ops("rebuild", "nothing")
    assert (code, "there is no view or table 'nothing': there are product, " in printed) == (1, True)
