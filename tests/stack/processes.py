"""The processes of a stack, to be compared: whether a program was started again."""

from local.supervisor import Supervisor


def pids(supervisor: Supervisor) -> dict[str, int | None]:
    """By program; None when it does not run."""
    return {name: state.pid for name, state in supervisor.states().items()}


def differ(one: dict[str, int | None], other: dict[str, int | None]) -> set[str]:
    """The names of programs that are other processes, or not in both."""
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
