"""`python -m ops status` and `verify`: what they print, and when they exit with 1."""

import json

import pytest
from psycopg2 import OperationalError
from typer.testing import CliRunner

from connectors.relay import RelayDown
from ops import console, consumers, health, status
from ops.__main__ import cli
from ops.comparisons import CannotVerify
from ops.consumers import Fare
from ops.relay import Relay
from ops.verify import Difference, Verified


def no_relays() -> list[Relay]:
    raise RelayDown("Kafka Connect does not answer\nat all")


@pytest.fixture(autouse=True)
def _nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else is asked, and nothing has been noted."""
    monkeypatch.setenv("MAREA_ADMIN_DATABASE_URL", "postgresql://127.0.0.1:1/nowhere")
    monkeypatch.setattr(health, "LOOKS", {})
    monkeypatch.setattr(status, "relays", list)


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
    assert found["relays"] == "Kafka Connect does not answer"
    assert [each["name"] for each in found["consumers"]] == ["view.order"]


def test_status_tells_that_consumers_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def unanswered() -> list[Fare]:
        raise OperationalError("no route")

    monkeypatch.setattr(consumers, "fares", unanswered)
    code, printed = ops("status", "--check")
    assert code == 1
    assert printed.startswith("The consumers stands still: their state is not known: OperationalError: no route")


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
