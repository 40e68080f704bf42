"""Which programs chaos hits, when and how."""

from itertools import pairwise

import pytest

from chaos.schedule import ACTIONS, PAUSE_S, STOP_S, Blow, schedule

PROGRAMS = [f"program-{number}" for number in range(13)]


def blows(seed: int, seconds: float) -> list[Blow]:
    return [blow for strike in schedule(seed, PROGRAMS, seconds) for blow in strike.blows]


def test_the_same_seed_and_programs_give_the_same_strikes_in_whatever_order_they_come() -> None:
    assert schedule(7, PROGRAMS, 60) == schedule(7, PROGRAMS[::-1], 60) != schedule(8, PROGRAMS, 60)


def test_a_longer_run_begins_as_a_shorter_one() -> None:
    short = schedule(7, PROGRAMS, 60)
    assert schedule(7, PROGRAMS, 120)[: len(short)] == short


@pytest.mark.parametrize("seed", range(20))
def test_a_minute_hits_every_program_kills_and_stops_alone_and_together(seed: int) -> None:
    strikes = schedule(seed, PROGRAMS, 60)
    assert {blow.program for blow in blows(seed, 60)} == {*PROGRAMS}
    assert {blow.action for blow in blows(seed, 60)} == {*ACTIONS}
    assert {len(strike.blows) for strike in strikes} >= {1, 2}


@pytest.mark.parametrize("seed", range(20))
def test_strikes_come_at_their_pauses_within_their_time_and_stops_last_as_long_as_they_may(seed: int) -> None:
    at_s = [strike.at_s for strike in schedule(seed, PROGRAMS, 60)]
    pauses_s = [later - earlier for earlier, later in pairwise(at_s)]
    assert all(PAUSE_S[0] - 0.01 <= pause_s <= PAUSE_S[1] + 0.01 for pause_s in pauses_s)
    assert at_s[-1] < 60
    for blow in blows(seed, 60):
        assert (STOP_S[0] <= blow.for_s <= STOP_S[1]) if blow.action == "stop" else blow.for_s == 0


@pytest.mark.parametrize("seed", range(20))
def test_one_strike_hits_a_program_once(seed: int) -> None:
    for strike in schedule(seed, PROGRAMS[:2], 120):
        hit = [blow.program for blow in strike.blows]
        assert len({*hit}) == len(hit)
