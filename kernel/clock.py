"""What time it is, and ids in order of time: given to whatever decides, which never asks by itself."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from uuid_utils import uuid7

from kernel.context import Context


class Clock(NamedTuple):
    """`now` gives UTC, `new_id` a UUIDv7."""

    now: Callable[[], datetime]
    new_id: Callable[[], str]

    def context(self, traceparent: str | None = None) -> Context:
        """The context of a command that is decided now."""
        return Context(self.now(), traceparent, self.new_id)


SYSTEM = Clock(lambda: datetime.now(UTC), lambda: str(uuid7()))
