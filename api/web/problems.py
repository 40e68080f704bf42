"""Whatever goes wrong, as a problem (RFC 9457)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NoReturn

import flask
import orjson
import psycopg2
import redis
from flask import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.exceptions import HTTPException

from api.web.replies import Reply
from api.web.requests import field_errors
from api.web.webhooks import BadSignature
from kernel import refusals
from kernel.refusals import FieldError, Invalid, Parked, Refused, Unauthorized, Unavailable

_STATUSES = {
    refusals.Unauthorized: HTTPStatus.UNAUTHORIZED,
    refusals.Unknown: HTTPStatus.NOT_FOUND,
    refusals.Conflict: HTTPStatus.CONFLICT,
    refusals.Stale: HTTPStatus.PRECONDITION_FAILED,
    BadSignature: HTTPStatus.UNAUTHORIZED,
    refusals.Malformed: HTTPStatus.BAD_REQUEST,
    refusals.Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    refusals.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    refusals.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description="Its path in the request.")
    message: str


class Problem(BaseModel):
    """Why a request failed (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Unprocessable Entity",
                "status": 422,
                "detail": "The request is not valid: see errors.",
                "errors": [{"field": "lines.0.quantity", "message": "Input should be less than or equal to 100000"}],
            }
        }
    )

    type: str = Field(default="about:blank", description="`parked`: it waits for an operator.")
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What was wrong, and what to do.")
    errors: list[FieldProblem] = Field(default=[], description="The fields at fault, if some are.")


def register(app: flask.Flask) -> None:
    """Lets the app answer with problems alone."""
    app.register_error_handler(Refused, answer)
    app.register_error_handler(HTTPException, _answer_http_error)
    for unavailable in (
        psycopg2.OperationalError,
        psycopg2.InterfaceError,
        psycopg2.errors.IdleInTransactionSessionTimeout,
        psycopg2.errors.ReadOnlySqlTransaction,
        redis.RedisError,
        ConnectionError,
    ):
        app.register_error_handler(unavailable, _answer_unavailable)


def refuse_invalid(error: ValidationError) -> NoReturn:
    """Raises Invalid, naming the fields."""
    raise Invalid("The request is not valid: see errors.", field_errors(error)) from error


def answer(refusal: Refused) -> Response:
    """What is answered to a command or a read that was refused."""
    kind = "parked" if isinstance(refusal, Parked) else "about:blank"
    return _problem(status_of(refusal), refusal.detail, refusal.errors, headers_of(refusal), kind)


def status_of(refusal: Refused) -> HTTPStatus:
    """Of the kind that it is, or is a kind of."""
    return next(_STATUSES[kind] for kind in type(refusal).__mro__ if kind in _STATUSES)


def headers_of(refusal: Refused) -> dict[str, str]:
    """What its answer says beside the problem."""
    if isinstance(refusal, Unauthorized):
        return {"WWW-Authenticate": 'Bearer realm="staff"'}
    return {"Retry-After": "1"} if isinstance(refusal, Unavailable) else {}


def content(status: HTTPStatus, detail: str, errors: Sequence[FieldError], kind: str = "about:blank") -> bytes:
    """A problem, in JSON."""
    body: dict[str, Any] = {"type": kind, "title": status.phrase, "status": status, "detail": detail}
    if errors:
        body["errors"] = [error._asdict() for error in errors]
    return orjson.dumps(body)


def _answer_http_error(error: HTTPException) -> Response:
    headers = {
        name: value for name, value in error.get_headers() if name not in ("Content-Type", "Content-Length")
    }
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    return _problem(status, error.description or status.description, (), headers)


def _answer_unavailable(error: Exception) -> Response:
    flask.current_app.logger.warning("unavailable: %s", str(error).strip())
    return answer(
        Unavailable("Something that this needs is not available at the moment: try again.")
    )


def _problem(
    status: HTTPStatus,
    detail: str,
    errors: Sequence[FieldError],
    headers: Mapping[str, str],
    kind: str = "about:blank",
) -> Response:
    return Reply(content(status, detail, errors, kind), status, headers, content_type="application/problem+json")
