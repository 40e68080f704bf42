"""The answers of commands that took effect, kept with what they changed: a repeat gets the first one again.

After the draft "The Idempotency-Key HTTP Header Field" of the IETF's HTTPAPI group.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import orjson
from psycopg2.errors import LockNotAvailable, UniqueViolation
from psycopg2.extensions import cursor as Cursor

from kernel.refusals import Conflict, Unavailable

#: Keeps an answer; its parameters are what `params` gives. A condition may follow.
KEEP = """
INSERT INTO answer (caller, route, key, request_hash, status, headers, body)
SELECT %s::text, %s::text, %s::text, %s::bytea, %s::smallint, %s::text, %s::bytea
"""
_FIND = "SELECT request_hash, status, headers, body FROM answer WHERE caller = %s AND route = %s AND key = %s"
_UNIQUE = "answer_pkey"


class Command(NamedTuple):
    """A command that its sender has named: the same `key` of the same caller at the same route means the same command.

    `request_hash` tells whether what was sent with it is the same, too.
    """

    caller: str
    route: str
    key: str
    request_hash: bytes


class Answer(NamedTuple):
    """What a command that took effect was answered with over HTTP."""

    command: Command
    status: int
    headers: Mapping[str, str]
    body: bytes


class AlreadyAnswered(Unavailable):
    """The command has taken effect before, and did not again: its first answer is kept."""

    def __init__(self) -> None:
        super().__init__("A command with this Idempotency-Key has just been carried out: send it again for its answer.")


def params(answer: Answer) -> tuple[Any, ...]:
    """The parameters of KEEP."""
    return (*answer.command, answer.status, orjson.dumps(dict(answer.headers)).decode(), answer.body)


@contextmanager
def counted_once() -> Iterator[None]:
    """Around a statement with KEEP: raises AlreadyAnswered for a repeat, and Conflict while the first is at work."""
    try:
        yield
    except UniqueViolation as error:
        if error.diag.constraint_name != _UNIQUE:
            raise
        raise AlreadyAnswered from error
    except LockNotAvailable as error:
        if _UNIQUE not in (error.diag.context or ""):
            raise
        raise Conflict("A command with this Idempotency-Key is being carried out: send it again a little later.") from error


def find(cursor: Cursor, command: Command) -> Answer | None:
    """The answer that is kept for a command, with the hash of what was sent then."""
    cursor.execute(_FIND, command[:3])
    row = cursor.fetchone()
    if row is None:
        return None
    request_hash, status, headers, body = row
    return Answer(command._replace(request_hash=bytes(request_hash)), status, orjson.loads(headers), bytes(body))
