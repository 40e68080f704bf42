"""Why and when a command is decided: what rules need beside the command, and don't fetch themselves."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, TypeVar

from schemas.event import Event

Type = TypeVar("Type", bound=str)
Data = TypeVar("Data")


class Context(NamedTuple):
    """The request or event that asks.

    `now` is UTC; `traceparent` is the asker's (W3C Trace Context); `new_id` gives a UUIDv7 each time.
    """

    now: datetime
    traceparent: str | None
    new_id: Callable[[], str]

    def event(self, type_: Type, key: str, version: int, data: Data) -> Event[Type, Data]:
        """An event that happens now, for this context."""
        return Event(self.new_id(), type_, key, version, self.now, data, self.traceparent)
