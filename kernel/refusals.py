"""How a rule says no. What each means over HTTP is decided in api/web/problems.py alone."""

from collections.abc import Collection, Sequence
from typing import NamedTuple


class FieldError(NamedTuple):
    """What is wrong with one field of a request, named by its path: "lines.0.quantity"."""

    field: str
    message: str


class Refused(Exception):
    """A command that can't be carried out: `detail` is for the person who sent it."""

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors


class Unknown(Refused):
    """There is no such aggregate."""


class Conflict(Refused):
    """The aggregate's state does not allow it."""


class Stale(Refused):
    """The aggregate has changed since the sender saw it."""


def check_seen(what: str, version: int, expected: Collection[int] | None) -> None:
    """Raises Stale unless it is at a version that the sender has seen; None if any will do."""
    if expected is not None and version not in expected:
        raise Stale(f"{what} is at version {version} now: read it again.")


class Unauthorized(Refused):
    """Only somebody else may do this, or the sender does not say who he is."""


class Malformed(Refused):
    """What was sent can't be read."""


class Invalid(Refused):
    """What was sent can't be meant: `errors` names the fields."""


class TooLarge(Refused):
    """What would have to be written about it is larger than what can be carried."""


class Unavailable(Refused):
    """Not now: what it needs is down, full or behind. Trying again later helps."""


class Parked(Unavailable):
    """Not before an operator has seen to it: what it needs could not be applied."""
