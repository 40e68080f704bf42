"""A minute in which all programs are killed and stopped at random under load; `./marea chaos` does it for longer."""

import logging

from chaos.run import run
from local.stack import Stack

log = logging.getLogger(__name__)

SEED, SECONDS = 20_251_125, 60.0


def test_nothing_is_lost_doubled_or_left_behind_whatever_is_hit_when(stack: Stack) -> None:
    """The same strikes each time: they are in the captured log of a run that fails."""
    outcome = run(stack, SEED, SECONDS, lambda at_s, what: log.warning("%6.1f s  %s", at_s, what))
    assert outcome.passed, outcome
    assert outcome.statuses.keys() == {"confirmed", "rejected"}
    assert sum(outcome.statuses.values()) == outcome.accepted
