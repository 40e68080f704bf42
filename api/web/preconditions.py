"""What a sender says it has seen of what it reads or changes: RFC 9110, section 13. Tags are compared as they are."""

import re
from collections.abc import Collection
from http import HTTPStatus
from typing import Annotated

from flask import Response, request
from pydantic import Field

from api.web import problems
from api.web.idempotency import OptionalKey, RequiredKey
from api.web.requests import Headers
from kernel.limits import MAX_NUMBER
from kernel.refusals import FieldError, Malformed, Stale

_TAG = r'(?:W/)?"[\x21\x23-\x7E\x80-\xFF]*"'
#: "*", or entity tags with commas between.
TAGS = rf"^(?:\*|[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*)$"

#: A version as we write it, with those of what is shown beside it, if anything is: no other tag can be one of ours.
_VERSION = re.compile(r'"([1-9][0-9]{0,15})(?:\.[0-9]{1,16})*"')


class IfMatch(Headers):
    """The version that the sender saw."""

    tags: Annotated[
        str | None,
        Field(
            alias="If-Match",
            pattern=TAGS,
            description="The ETag of what the sender saw, or several, or *: anything else there gives 412.",
            json_schema_extra={"example": '"3"'},
        ),
    ] = None

    def versions(self) -> Collection[int] | None:
        """Those that the sender has seen; None if it does not say. Tags that are none of ours, weak ones too, match none."""
        if self.tags is None:
            return None
        if self.tags == "*":
            return range(1, MAX_NUMBER + 1)  # any, but it has to be there
        found = map(_VERSION.fullmatch, re.findall(_TAG, self.tags))
        return frozenset(int(version[1]) for version in found if version)


class Changing(OptionalKey, IfMatch):
    """What a command may bring that changes something which is there."""


class Counting(RequiredKey, IfMatch):
    """What a command brings of which a repeat would count twice."""


def answer_unchanged(answer: Response) -> Response:
    """A read's answer, if its sender asked for it under the conditions that hold: otherwise 304 or 412."""
    tag = answer.headers.get("ETag")
    if tag is None or request.method not in ("GET", "HEAD"):
        return answer
    try:
        wanted, seen = _tags("If-Match"), _tags("If-None-Match")
    except Malformed as malformed:
        return problems.answer(malformed)
    if wanted is not None and not {"*", tag} & set(wanted):
        return problems.answer(Stale(f"It is at {tag} now: read it again."))
    if seen is not None and {"*", tag} & {each.removeprefix("W/") for each in seen}:
        answer.status_code = HTTPStatus.NOT_MODIFIED
    return answer


def _tags(name: str) -> list[str] | None:
    """The tags in that header of the request, "*" among them; None when there is no such header. Raises Malformed."""
    text = request.headers.get(name)
    if text is None:
        return None
    if not re.fullmatch(TAGS, text):
        message = 'is neither * nor a list of tags such as "3"'
        raise Malformed(f"Header {name}: {message}.", [FieldError(name, message)])
    return ["*"] if text == "*" else re.findall(_TAG, text)
