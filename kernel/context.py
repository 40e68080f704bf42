"""Why and when a command is decided: what rules need beside the command, and don't fetch themselves."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from schemas.event import Event


class Context(NamedTuple):
    """The request or event that asks.

    `now` is UTC; `traceparent` is the asker's (W3C Trace Context); `new_id` gives a UUIDv7 each time.
    """

    now: datetime
    traceparent: str | None
    new_id: Callable[[], str]

    def event(self, type_: str, key: str, version: int, data: dict[str, Any]) -> Event:
        """An event that happens now, for this context."""
        return Event(self.new_id(), type_, key, version, self.now, data, self.traceparent)
