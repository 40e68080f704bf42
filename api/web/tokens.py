"""Reads that see a write: `Marea-Token` says which versions a view must have, `Prefer: wait=N` for how long to wait."""

import re
from typing import Annotated

from pydantic import Field

from api.web.requests import Headers
from kernel import token
from kernel.refusals import FieldError, Malformed
from kernel.token import BadToken
from schemas.event import Topic
from streams.engine.reader import ANY, After

#: Seconds that a read waits for what a token names, unless it says otherwise; and at most.
WAIT_S, MOST_WAIT_S = 2, 10
#: So many digits of a number of seconds are read: the others only make it larger.
_DIGITS = 4


class Reading(Headers):
    """What a read has to see."""

    token: Annotated[
        str | None,
        Field(
            alias="Marea-Token",
            max_length=8_000,
            description="What a write answered with: the answer shows that write, or is a 503.",
        ),
    ] = None
    prefer: Annotated[
        str,
        Field(
            alias="Prefer",
            description=f"`wait=N`: how many seconds to wait for that, {WAIT_S} unless it is said, {MOST_WAIT_S} at most.",
            json_schema_extra={"example": "wait=5"},
        ),
    ] = ""

    def after(self, topic: Topic) -> After:
        """What a view of this topic has to have seen, and until when to wait for it. Raises Malformed."""
        if self.token is None:
            return ANY
        try:
            versions = token.decode(self.token)
        except BadToken as error:
            message = f"is no token: {error}"
            raise Malformed(f"Header Marea-Token: {message}.", [FieldError("Marea-Token", message)]) from error
        return After([each for each in versions if each.topic == topic], self._wait_s())

    def _wait_s(self) -> float:
        """Other preferences mean nothing here: RFC 7240."""
        for preference in self.prefer.split(","):
            name, _, value = preference.partition(";")[0].partition("=")
            seconds = value.strip().strip('"')
            if name.strip().lower() == "wait" and re.fullmatch("[0-9]+", seconds):
                return min(int(seconds[:_DIGITS]), MOST_WAIT_S)
        return WAIT_S
