"""Which programs are hit, when and how: a pure function of a seed, so that a run can be repeated."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, NamedTuple

#: Kill all processes of a program; kill its first one only, which its children notice or not; or stop all of them.
Action = Literal["kill", "kill first", "stop"]

#: Seconds between two strikes, and for which a program is stopped: the least and the most.
PAUSE_S, STOP_S = (0.5, 5.0), (0.5, 6.0)
#: How often a strike hits one, two or three programs at once, of ten.
AT_ONCE = {1: 6, 2: 3, 3: 1}
#: How often each action is chosen, of ten.
ACTIONS: dict[Action, int] = {"kill": 3, "kill first": 2, "stop": 5}


class Blow(NamedTuple):
    """One program is hit. `for_s` is how long it is stopped; 0 when it is killed."""

    program: str
    action: Action
    for_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.action} {self.program}" + (f" for {self.for_s:.1f} s" if self.for_s else "")


@dataclass(frozen=True)
class Strike:
    """What happens to one program, or to several at once, so many seconds after the start."""

    at_s: float
    blows: tuple[Blow, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.blows))


def schedule(seed: int, programs: Sequence[str], seconds: float) -> list[Strike]:
    """The strikes of so many seconds. In whatever order the programs come, none is hit twice before all others once."""
    random = Random(seed)
    victims = _dealt(random, sorted(programs))
    strikes: list[Strike] = []
    at_s = random.uniform(*PAUSE_S)
    while at_s < seconds:
        [number] = random.choices([*AT_ONCE], [*AT_ONCE.values()])
        hit = {next(victims): None for _ in range(number)}  # one that is dealt last and first again is hit once
        strikes.append(Strike(round(at_s, 2), tuple(_blow(random, program) for program in hit)))
        at_s += random.uniform(*PAUSE_S)
    return strikes


def _blow(random: Random, program: str) -> Blow:
    [action] = random.choices([*ACTIONS], [*ACTIONS.values()])
    return Blow(program, action, round(random.uniform(*STOP_S), 2) if action == "stop" else 0.0)


def _dealt(random: Random, programs: Sequence[str]) -> Iterator[str]:
    """One after the other from a shuffled deck, which is shuffled again when it is empty."""
    while True:
        yield from random.sample(programs, len(programs))
