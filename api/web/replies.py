"""Answers in JSON, with the version of what they show."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from flask import Response
from werkzeug.datastructures import Headers

from kernel import refusals

_EMPTY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class Reply(Response):
    """An answer whose headers are sent as they are: Werkzeug would read each of them again."""

    def get_wsgi_headers(self, environ: dict[str, Any]) -> Headers:
        """Without those that say what is in the body, where there is none."""
        if self.status_code in _EMPTY:
            return super().get_wsgi_headers(environ)
        return self.headers


def reply(
    body: Any, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer in JSON; bytes are JSON already."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return Reply(content, status, headers, content_type="application/json")


def reply_row(row: bytes | None, missing: str) -> Response:
    """A view's row with its version as ETag; None is refused with the words of `missing`."""
    if row is None:
        raise refusals.Unknown(missing)
    return reply(row, headers={"ETag": etag(orjson.loads(row)["version"])})


def reply_with(row: bytes | None, beside: Mapping[str, bytes | None], missing: str) -> Response:
    """A view's row with rows of other views as fields of it; the versions of all make the ETag, its own first."""
    if row is None:
        raise refusals.Unknown(missing)
    versions = [orjson.loads(each)["version"] if each else 0 for each in (row, *beside.values())]
    fields = b"".join(b',"%s":%s' % (name.encode(), each or b"null") for name, each in beside.items())
    return reply(row[:-1] + fields + b"}", headers={"ETag": f'"{".".join(map(str, versions))}"'})


def changed(body: Any, token: str, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    """The answer of a command, with the token by which reads see it."""
    return reply(body, status, {"Marea-Token": token, **(headers or {})})


def etag(version: int) -> str:
    """An aggregate's version as an entity tag."""
    return f'"{version}"'
