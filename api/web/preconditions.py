"""What a sender says it has seen of what it wants to change: RFC 9110, section 13."""

from typing import Annotated

from pydantic import Field

from api.web.idempotency import OptionalKey, RequiredKey
from api.web.requests import Headers


class IfMatch(Headers):
    """The version that the sender saw."""

    tag: Annotated[
        str | None,
        Field(
            alias="If-Match",
            pattern=r'^(\*|"[0-9]{1,18}")$',
            description='The ETag of what the sender saw, such as "3": a change since then gives 412.',
        ),
    ] = None

    def version(self) -> int | None:
        """The version that the sender saw; None if any will do."""
        return None if self.tag in (None, "*") else int(self.tag.strip('"'))


class Changing(OptionalKey, IfMatch):
    """What a command may bring that changes something which is there."""


class Counting(RequiredKey, IfMatch):
    """What a command brings of which a repeat would count twice."""
