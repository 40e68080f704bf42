"""Commands that count once: a repeat with the same Idempotency-Key gets the first answer again.

Only what took effect is kept: a refused command may be sent again, and is decided anew.
"""

import hashlib
from collections.abc import Callable
from typing import Annotated, Any, cast

import orjson
from flask import Response, request
from pydantic import AfterValidator, Field

from api.web.replies import Reply
from api.web.requests import Headers, Request
from kernel.answers import AlreadyAnswered, Answer, Command
from kernel.database import Database
from kernel.refusals import Invalid, Refused, Unavailable

#: Who sends a command that does not say so.
ANONYMOUS = "anonymous"
#: What is kept of an answer beside its status and body.
_KEPT_HEADERS = ("Content-Type", "ETag", "Location", "Marea-Token")

#: The answer as the store has to keep it; None when the command came without a key. Called only for what takes effect.
Keep = Callable[[Response], Answer | None]

_KEY: Any = Field(
    alias="Idempotency-Key",
    pattern=r'^([\x21\x23-\x7E]{1,200}|"[\x21\x23-\x7E]{1,200}")$',
    description="Chosen by the sender, another for each command: with the same key a command counts once, and is answered"
    " as the first time. In quotes or without.",
    json_schema_extra={"example": "3f6d0c5e-6a7b-4d43-9a40-1f1c9e4e5b0a"},
)


class RequiredKey(Headers):
    """What makes a command safe to send again."""

    key: Annotated[str, _KEY, AfterValidator(lambda key: key.strip('"'))]


class OptionalKey(Headers):
    """What makes a command safe to send again."""

    key: Annotated[str | None, _KEY, AfterValidator(lambda key: key and key.strip('"'))] = None


def once(
    database: Database[Any],
    header: RequiredKey | OptionalKey,
    act: Callable[[Keep], Response],
    caller: str = ANONYMOUS,
) -> Response:
    """Carries out a command, unless it has taken effect before: then its first answer.

    `act` has the store keep the answer that it gives, together with what it changes. Raises what `act` raises, and
    Invalid when the key came with another request.
    """
    if header.key is None:
        return act(lambda _: None)
    command = Command(caller, f"{request.method} {request.path}", header.key, _request_hash())
    kept: list[Answer] = []

    def keep(reply: Response) -> Answer:
        kept.append(_answer(command, reply))
        return kept[-1]

    try:
        reply = act(keep)
    except Refused as refusal:
        if isinstance(refusal, Unavailable) and not isinstance(refusal, AlreadyAnswered):
            raise
        # What was possible then may not be now: the first answer still holds.
        if (first := database.answer(command)) is None:
            raise
        return _again(first, command)
    if not kept and (first := database.answer(command)):
        return _again(first, command)  # there was nothing left to do
    return reply


def _again(first: Answer, command: Command) -> Response:
    if first.command != command:
        raise Invalid("This Idempotency-Key came before with another request: choose a new key for a new command.")
    return Reply(first.body, first.status, first.headers)


def _request_hash() -> bytes:
    """The same for the same body, however its JSON was written."""
    return hashlib.sha256(orjson.dumps(cast("Request", request).body, option=orjson.OPT_SORT_KEYS)).digest()


def _answer(command: Command, reply: Response) -> Answer:
    headers = {name: reply.headers[name] for name in _KEPT_HEADERS if name in reply.headers}
    return Answer(command, reply.status_code, headers, reply.get_data())
