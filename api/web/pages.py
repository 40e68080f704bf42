"""Long lists, a page at a time.

A cursor is the place behind which the next page begins, and a digest of what was asked: with other filters, or for
another list, it means nothing, and is refused.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Annotated

import orjson
from flask import Response, request
from pydantic import Field

from api.web import replies
from api.web.requests import Query
from kernel.refusals import FieldError, Invalid
from streams.engine import reader
from streams.engine.indexes import Range
from streams.engine.reader import After, Views

_DIGEST_BYTES = 8

#: A field of an answer that is a page.
NextCursor = Annotated[
    str | None, Field(description="Give it as `cursor`, with the same filters, for the next page; null on the last.")
]


class Page(Query):
    """Which part of a list to give: lists add their filters."""

    limit: Annotated[int, Field(ge=1, le=1_000, description="The most that a page has; it may have fewer.")] = 50
    cursor: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9_-]+$",
            max_length=200,
            description="The `next_cursor` of the page before, which was asked for with the same filters.",
        ),
    ] = None


def read(views: Views, view: str, wanted: Range, query: Page, after: After) -> reader.Page:
    """The page that is asked for; its `next` is a cursor. Raises Invalid for a cursor that is not this list's."""
    asked = _digest(query)
    behind = None if query.cursor is None else _place(query.cursor, asked)
    page = views.page(view, wanted, query.limit, behind, after)
    return page._replace(next=None if page.next is None else _cursor(page.next, asked))


def reply(name: str, rows: Sequence[bytes], next_cursor: str | None) -> Response:
    """A page of rows, which are JSON already, with the next one's cursor."""
    return replies.reply(
        b'{"%b":[%b],"next_cursor":%b}' % (name.encode(), b",".join(rows), orjson.dumps(next_cursor))
    )


def _digest(query: Page) -> bytes:
    """Of the list and its filters: pages may have other limits."""
    filters = query.model_dump_json(exclude={"limit", "cursor"})
    return hashlib.blake2b(f"{request.path}?{filters}".encode(), digest_size=_DIGEST_BYTES).digest()


def _cursor(place: str, asked: bytes) -> str:
    return base64.urlsafe_b64encode(asked + place.encode()).rstrip(b"=").decode()


def _place(cursor: str, asked: bytes) -> str:
    try:
        content = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        place = content[_DIGEST_BYTES:].decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise _not_ours() from error
    if content[:_DIGEST_BYTES] != asked:
        raise _not_ours()
    return place


def _not_ours() -> Invalid:
    message = "Input should be the next_cursor of a page of this list, with the same filters"
    return Invalid("The cursor is not one of this list: ask for its first page without one.", [FieldError("cursor", message)])
