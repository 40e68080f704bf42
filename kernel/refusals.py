"""How a rule says no. What each means over HTTP is decided in api/web/problems.py alone."""

from collections.abc import Sequence
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


class Malformed(Refused):
    """What was sent can't be read."""


class Invalid(Refused):
    """What was sent can't be meant: `errors` names the fields."""


class TooLarge(Refused):
    """What would have to be written about it is larger than what can be carried."""


class Unavailable(Refused):
    """Not now: what it needs is down or full. Trying again later helps."""
