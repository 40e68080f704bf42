"""Answers in JSON, with the version of what they show."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from flask import Response

from kernel import refusals


def reply(
    body: Any, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer in JSON; bytes are JSON already."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return Response(content, status, headers, mimetype="application/json")


def reply_row(row: bytes | None, missing: str) -> Response:
    """A view's row with its version as ETag; None is refused with the words of `missing`."""
    if row is None:
        raise refusals.Unknown(missing)
    return reply(row, headers={"ETag": etag(orjson.loads(row)["version"])})


def changed(body: Any, token: str, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    """The answer of a command, with the token by which reads see it."""
    return reply(body, status, {"Marea-Token": token, **(headers or {})})


def etag(version: int) -> str:
    """An aggregate's version as an entity tag."""
    return f'"{version}"'
