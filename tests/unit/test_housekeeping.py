"""What is said of what stands still, and how often what fails is tried again."""

from datetime import UTC, date, datetime, timedelta

import pytest

from ops import health
from ops.chores import backoff_s
from ops.outboxes import days_ahead
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
