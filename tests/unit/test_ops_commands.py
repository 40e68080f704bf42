"""`python -m ops status`, `verify` and `rebuild`: what they print, and when they exit with 1."""

import json
import math
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from psycopg2 import OperationalError
from rich.console import Console
from typer.testing import CliRunner

from api.services import views
from ops import console, consumers, due, health, status
from ops import rebuild as rebuilding
from ops.__main__ import cli
from ops.consumers import Fare
from ops.due import Waiting
from ops.generations import rebuildable
from ops.moments import At
from ops.rebuild import Progress as OnProgress
from ops.rebuild import Rebuilt
from ops.relay import Relay
from ops.states import CannotVerify
from ops.verify import Difference, Verified
from streams.engine.batch import Place
from streams.engine.stores import Progress


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


@pytest.mark.parametrize(
    ("lag_s", "as_json", "shown"), [(12.34, 12.34, "12.3 s"), (math.inf, None, "?")], ids=["known", "not in its topic"]
)
def test_status_tells_how_old_the_first_event_is_that_a_consumer_lacks(
    monkeypatch: pytest.MonkeyPatch, lag_s: float, as_json: float | None, shown: str
) -> None:
    monkeypatch.setattr(consumers, "fares", lambda: [Fare("view.order", 7, lag_s)])
    assert json.loads(ops("status", "--json")[1])["consumers"][0]["lag_s"] == as_json
    [line] = [line for line in ops("status")[1].splitlines() if line.startswith(" view.order")]
    assert shown in line


def test_a_lag_is_as_old_as_the_oldest_event_that_is_lacked_in_any_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = views()["order"].topic
    old, new = At(Place(topic, 0), 5), At(Place(topic, 1), 9)
    now = datetime.now(UTC)
    asked: list[set[At]] = []

    def moments(bootstrap: str, wanted: set[At]) -> dict[At, datetime]:
        asked.append(wanted)
        return {old: now - timedelta(seconds=60), new: now - timedelta(seconds=1)}

    monkeypatch.setenv("MAREA_KAFKA", "127.0.0.1:1")
    monkeypatch.setattr(consumers, "moments", moments)
    at = {"view.order": {0: Progress(5), 1: Progress(9)}, "view.customer_orders": {0: Progress(8), 1: Progress(9)}}
    lags = consumers.lags_s(at, {topic: {0: 8, 1: 10}})
    assert asked == [{old, new}]
    assert lags["view.order"] == pytest.approx(60, abs=5)
    assert lags["view.customer_orders"] == pytest.approx(1, abs=5)


def test_an_event_that_its_topic_does_not_have_any_more_is_infinitely_old(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = views()["order"].topic
    monkeypatch.setenv("MAREA_KAFKA", "127.0.0.1:1")
    monkeypatch.setattr(consumers, "moments", lambda bootstrap, wanted: {})
    assert consumers.lags_s({"view.order": {0: Progress(5)}}, {topic: {0: 8}}) == {"view.order": math.inf}
    assert consumers.lags_s({"view.order": {0: Progress(8)}}, {topic: {0: 8}}) == {"view.order": 0.0}


def test_top_shows_what_status_shows_and_once_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "fares", lambda: [Fare("view.order", 7, 12.0, stands=(1,))])
    monkeypatch.setattr(console, "output", Console(file=StringIO(), width=120))
    assert ops("top")[0] == 0
    printed = console.output.file.getvalue()  # type: ignore[attr-defined]
    assert printed.count("view.order") == 1
    assert "View.order stands still: 7 events behind" in printed


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


def test_deadlines_and_tasks_that_are_long_overdue_and_tasks_given_up_are_troubles() -> None:
    now = datetime.now(UTC)
    overdue, fine = now - due.LATE - timedelta(seconds=1), now - due.LATE + timedelta(seconds=1)
    found = [
        Waiting("deadline", "orders", "a", "due", 2, overdue, None),
        Waiting("deadline", "orders", "b", "failing", 1, overdue, "KeyError: 'x'"),
        Waiting("deadline", "orders", "c", "due", 1, fine, None),
        Waiting("deadline", "orders", "d", "waiting", 1, now + due.LATE, None),
        Waiting("task", "orders", "e", "given up", 3, fine, "503"),
        Waiting("task", "orders", "f", "at work or resting", 3, overdue, None),
        Waiting("task", "orders", "g", "due", 4, overdue, None),
        Waiting("task", "orders", "h", "due", 4, fine, None),
    ]
    assert [(each.what, each.still) for each in due.troubles(found, now)] == [
        ("the deadline a of orders", True),
        ("the deadline b of orders", True),
        ("the task e of orders", False),
        ("the task g of orders", True),
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

    def __call__(self, name: str, workers: int, on_progress: OnProgress, *, accept_differences: bool) -> Rebuilt:
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
