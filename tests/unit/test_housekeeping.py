"""What is said of what stands still, and how often what fails is tried again."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from connectors.relay import databases
from kernel.pauses import backoff_s
from ops import chores, health, outboxes, relay
from ops.outboxes import DAYS_AHEAD, ENOUGH_DAYS, days_ahead
from ops.relay import Relay, Slot
from ops.trouble import Trouble, verdict

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def test_without_trouble_the_verdict_says_that_nothing_stands_still() -> None:
    assert verdict([], NOW) == "Nothing stands still."


def test_the_verdict_says_what_stands_still_since_when_and_why() -> None:
    trouble = Trouble("the relay", "its task has FAILED: too large", NOW - timedelta(minutes=2))
    assert verdict([trouble], NOW) == "The relay has stood still for 2 min: its task has FAILED: too large"


def test_the_verdict_is_what_has_stood_still_longest_before_what_only_needs_attention() -> None:
    attention = Trouble("the disk", "it fills", NOW - timedelta(days=3), still=False)
    younger, older = (Trouble(f"feed {n}", "it is down", NOW - timedelta(hours=n)) for n in (1, 2))
    assert verdict([attention, younger, older], NOW) == "Feed 2 has stood still for 2 h: it is down (and 2 more)"


@pytest.mark.parametrize(("still", "said"), [(True, "stands still"), (False, "needs attention")])
def test_what_is_seen_for_the_first_time_has_no_since(*, still: bool, said: str) -> None:
    assert verdict([Trouble("kafka", "it is STOPPED", still=still)], NOW) == f"Kafka {said}: it is STOPPED"


def test_pauses_double_up_to_the_longest_and_chance_takes_at_most_half() -> None:
    for failures, longest in ((1, 2), (2, 4), (3, 8), (20, 300), (100_000, 300)):
        pauses = [backoff_s(failures, 2, 300) for _ in range(100)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest


def test_days_ahead_are_counted_up_to_the_first_that_is_missing() -> None:
    today = NOW.date()
    days = [today + timedelta(days=ahead) for ahead in (-1, 0, 1, 3)]
    assert days_ahead(days, today) == 1
    assert days_ahead([], today) == -1
    assert days_ahead([date(2020, 1, 1)], today) == -1


def test_a_look_that_costs_much_is_taken_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = 0.0
    monkeypatch.setattr(health, "monotonic", lambda: seconds)
    looks: list[float] = []

    def look() -> list[Trouble]:
        looks.append(seconds)
        return [Trouble("view.order", f"at {seconds:.0f}")]

    rarely = health.rarely(look, every_s=30)
    for seconds in (0, 5, 29, 30, 35):
        found = [trouble.why for trouble in rarely()]
        assert found == ["at 0" if seconds < 30 else "at 30"]
    assert looks == [0, 30]


SLOT = Slot(active=True, wal_status="reserved", confirmed_lsn=7, retained_bytes=10, lag_bytes=0, safe_bytes=990)
RELAY = Relay("outbox", "RUNNING", "", SLOT, bound_bytes=1_000, moved_at=None, failure=None)


def minutes_ago(minutes: float) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("changes", "why", "still"),
    [
        ({"state": "FAILED", "why": "too large"}, "its task has FAILED: too large", True),
        ({"failure": "too large"}, "its task has FAILED: too large", True),
        ({"state": "PAUSED"}, "it is PAUSED", True),
        ({"state": relay.UNKNOWN, "why": "Connect does not answer"}, "Connect does not answer", False),
        (
            {"state": relay.UNKNOWN, "why": "Connect does not answer", "slot": SLOT._replace(active=False)},
            "nobody reads its replication slot. Connect does not answer",
            True,
        ),
        ({"state": relay.UNKNOWN, "slot": SLOT._replace(wal_status="lost")}, "its replication slot is lost", True),
        ({"slot": None}, "it has no replication slot", True),
        ({"slot": SLOT._replace(active=False, wal_status="lost")}, "its replication slot is lost", True),
        ({"slot": SLOT._replace(active=False)}, "nobody reads its replication slot", True),
        ({"moved_at": minutes_ago(1)}, "its task runs, but its slot does not move", True),
        ({"bound_bytes": -1}, "PostgreSQL has no max_slot_wal_keep_size: if it stood still, the disk would fill", False),
        (
            {"slot": SLOT._replace(retained_bytes=251)},
            "its slot holds back 251 bytes of WAL, and is lost at 1,000",
            False,
        ),
    ],
)
def test_of_a_relay_is_said_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], why: str, *, still: bool
) -> None:
    found = replace(RELAY, **changes)
    monkeypatch.setattr(relay, "relays", lambda: [found])
    assert relay.look() == [Trouble("the relay outbox", why, found.moved_at, still)]


@pytest.mark.parametrize("retained_bytes", [None, 250])
def test_of_a_relay_that_runs_nothing_is_said(monkeypatch: pytest.MonkeyPatch, retained_bytes: int | None) -> None:
    slot = SLOT._replace(retained_bytes=retained_bytes)
    monkeypatch.setattr(relay, "relays", lambda: [replace(RELAY, slot=slot, moved_at=datetime.now(UTC))])
    assert relay.look() == []


class Outboxes:
    """A cursor that finds the partitions of these outboxes."""

    def __init__(self, days: Mapping[str, Sequence[date]]) -> None:
        self._days = days
        self._found: Sequence[date] = ()

    def execute(self, query: str, parameters: tuple[str]) -> None:
        assert "pg_inherits" in query
        self._found = self._days[parameters[0]]

    def fetchall(self) -> list[tuple[str]]:
        return [(f"outbox_{day:%Y%m%d}",) for day in self._found]


@pytest.mark.parametrize(
    ("ahead", "still"), [(DAYS_AHEAD, None), (ENOUGH_DAYS, None), (ENOUGH_DAYS - 1, False), (0, False), (-1, True)]
)
def test_an_outbox_that_soon_has_no_partition_is_told(
    monkeypatch: pytest.MonkeyPatch, ahead: int, *, still: bool | None
) -> None:
    """It stands still once there is none for today; the outboxes of all databases are looked at, each in its own."""
    today = datetime.now(UTC).date()
    first, second = (
        {f"{service}.outbox": [today + timedelta(days=day) for day in range(days + 1)]}
        for service, days in (("first", DAYS_AHEAD), ("second", ahead))
    )
    cursors = {"one": Outboxes(first), "two": Outboxes(second)}
    at = databases({"first": "postgresql://first@one/marea", "second": "postgresql://second@two/marea"})
    monkeypatch.setattr(outboxes, "databases", lambda: at)
    monkeypatch.setattr(outboxes, "admin_url", lambda database: database.host)
    monkeypatch.setattr(outboxes, "admin", lambda url: nullcontext(cursors[url]))
    found = [(trouble.what, trouble.still) for trouble in outboxes.look()]
    assert found == ([] if still is None else [("the outbox of second", still)])


class Chores:
    """A cursor that finds when a chore was done last, and one that fails since some time."""

    def __init__(self, done_at: datetime | None, failing_since: datetime) -> None:
        self._done_at, self._failing_since = done_at, failing_since
        self._found: list[tuple[str, str, datetime]] = []

    def execute(self, query: str, parameters: tuple[datetime, ...] = ()) -> None:
        if parameters:
            assert "failing_since <" in query
            [before] = parameters
            failing = ("relay", "OSError: no route", self._failing_since)
            self._found = [failing] if self._failing_since < before else []

    def fetchone(self) -> tuple[datetime | None]:
        return (self._done_at,)

    def __iter__(self) -> Iterator[tuple[str, str, datetime]]:
        return iter(self._found)


def told_of_chores(monkeypatch: pytest.MonkeyPatch, done_at: datetime | None, failing_since: datetime) -> list[Trouble]:
    def admin(url: str) -> AbstractContextManager[Chores]:
        return nullcontext(Chores(done_at, failing_since))

    monkeypatch.setenv("MAREA_ADMIN_DATABASE_URL", "")
    monkeypatch.setattr(chores, "admin", admin)
    return chores.look()


def test_of_chores_that_are_done_or_were_just_disturbed_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told_of_chores(monkeypatch, minutes_ago(0.5), minutes_ago(0.5)) == []


def test_a_chore_that_fails_for_long_is_told_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    since = minutes_ago(1.5)
    assert told_of_chores(monkeypatch, minutes_ago(0.5), since) == [
        Trouble("the chore relay", "it fails: OSError: no route", since)
    ]


@pytest.mark.parametrize("done_at", [None, minutes_ago(1.5)])
def test_housekeeping_that_does_nothing_is_told(monkeypatch: pytest.MonkeyPatch, done_at: datetime | None) -> None:
    assert told_of_chores(monkeypatch, done_at, minutes_ago(0.5)) == [
        Trouble("housekeeping", "`ops keep` does not run", done_at)
    ]
