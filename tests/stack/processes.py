"""The processes of a stack, to be compared: whether a program was started again."""

from local.stack import Stack


def pids(stack: Stack) -> dict[str, int | None]:
    """By program; None when it does not run."""
    return {name: state.pid for name, state in stack.supervisor.states().items()}


def differ(one: dict[str, int | None], other: dict[str, int | None]) -> set[str]:
    """The names of programs that are other processes, or not in both."""
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
