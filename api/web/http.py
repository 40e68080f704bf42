"""What every service does over HTTP in the same way: requests checked, errors as problems (RFC 9457)."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any, NoReturn, Self

import flask
import orjson
import psycopg2
import redis
from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.info import Info
from flask_openapi3.models.tag import Tag
from flask_openapi3.openapi import OpenAPI
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.exceptions import BadRequest, HTTPException, UnsupportedMediaType

from kernel import outbox, refusals, settings
from kernel.context import Context
from kernel.database import Database
from kernel.refusals import FieldError, Invalid, Refused, Unavailable
from streams.engine.reader import Views

#: A batch of 1,000 products whose texts are as long as allowed, in characters of four bytes, has 3.3 MB.
MAX_BODY_BYTES = 4 * 1024 * 1024

#: The most fields that one problem names.
_MAX_ERRORS = 100

_STATUSES = {
    refusals.Unknown: HTTPStatus.NOT_FOUND,
    refusals.Conflict: HTTPStatus.CONFLICT,
    refusals.Stale: HTTPStatus.PRECONDITION_FAILED,
    refusals.Malformed: HTTPStatus.BAD_REQUEST,
    refusals.Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    refusals.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

#: An id that a sender chooses: of a product, of a customer. It is safe in a path and as a Kafka key.
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]

#: Text without control characters; PostgreSQL refuses NUL.
Text = Annotated[str, Field(pattern=r"^[^\x00-\x1F\x7F]*$", max_length=200)]


class Body(BaseModel):
    """A JSON object in a request: nothing is converted, nothing unknown is let through."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Path(BaseModel):
    """The variable parts of a path."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Documented(BaseModel):
    """flask-openapi3 asks for the schema of queries and headers with every request: it is made once."""

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return _once(super().model_json_schema, *args, **kwargs)


@cache
def _once(make: Callable[..., dict[str, Any]], *args: Any, **kwargs: Any) -> dict[str, Any]:
    return make(*args, **kwargs)


class Query(_Documented):
    """What follows the ? of an address."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Headers(_Documented):
    """Headers that mean something to us. A malformed one is a bad request."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @classmethod
    def model_validate(cls, obj: Any, **kwargs: Any) -> Self:
        """Raises Malformed, where bodies and queries are Invalid."""
        try:
            return super().model_validate(obj, **kwargs)
        except ValidationError as error:
            errors = field_errors(error)
            raise refusals.Malformed(f"Header {errors[0].field}: {errors[0].message}.", errors) from error


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description="Its path in the request.", examples=["lines.0.quantity"])
    message: str


class Problem(BaseModel):
    """Why a request failed (RFC 9457)."""

    type: str = "about:blank"
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What was wrong, and what to do.")
    errors: list[FieldProblem] = Field(default=[], description="The fields at fault, if some are.")


_PROBLEM_RESPONSE = {
    "description": "A problem: the field is named when one is at fault.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


class Request(flask.Request):
    """A request whose body is JSON or refused, whichever way it is asked for."""

    def get_json(self, *_: Any, **__: Any) -> dict[str, Any]:
        """The object in the body. Always raises when there is none, asked to be silent or not: 415, 400, 422."""
        if not self.is_json:
            raise UnsupportedMediaType("The body must be JSON, with Content-Type: application/json.")
        content = self.get_data(cache=False)
        # What a chunked body has over the limit is cut off; asking for more of it is what refuses it.
        self.stream.read(1)
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"The body can't be read as JSON: {error}.") from error
        if not isinstance(body, dict):
            raise Invalid("The body must be a JSON object.")
        return body


def blueprint(service: str) -> APIBlueprint:
    """The routes of a service."""
    return APIBlueprint(
        service,
        service,
        abp_tags=[Tag(name=service)],
        abp_responses={"default": _PROBLEM_RESPONSE, "422": _PROBLEM_RESPONSE},
    )


def create_app(routes: APIBlueprint, database: Database, description: str) -> OpenAPI:
    """The service as a WSGI application. Nothing is connected to before the first request."""
    app = OpenAPI(
        routes.name,
        info=Info(title=f"Marea {routes.name}", version="1.0.0", description=description),
        validation_error_model=Problem,
        validation_error_callback=_refuse,
        doc_prefix="/v1",
    )
    app.request_class = Request
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.register_error_handler(Refused, _answer_refusal)
    app.register_error_handler(HTTPException, _answer_http_error)
    for unavailable in (
        psycopg2.OperationalError,
        psycopg2.InterfaceError,
        redis.RedisError,
        ConnectionError,
    ):
        app.register_error_handler(unavailable, _answer_unavailable)
    app.register_api(routes)

    @app.get("/health", doc_ui=False)
    def health() -> Response:
        with database.statements() as cursor:
            cursor.execute("SELECT 1")
        return reply({"status": "ok"})

    return app


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


def etag(version: int) -> str:
    """An aggregate's version as an entity tag."""
    return f'"{version}"'


def context() -> Context:
    """The request that is being handled, as the context of events."""
    traceparent = request.headers.get("traceparent", "")
    return outbox.context(traceparent if _TRACEPARENT.fullmatch(traceparent) else None)


@cache
def views() -> Views:
    """This process's reader of views."""
    return Views(settings.redis_url(), settings.partitions())


def field_errors(error: ValidationError) -> list[FieldError]:
    """Each field that a model refuses, by its path."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        FieldError(".".join(map(str, detail["loc"])) or "body", detail["msg"])
        for detail in details[:_MAX_ERRORS]
    ]


def _refuse(error: ValidationError) -> NoReturn:
    raise Invalid("The request is not valid: see errors.", field_errors(error)) from error


def _answer_refusal(refusal: Refused) -> Response:
    headers = {"Retry-After": "1"} if isinstance(refusal, Unavailable) else {}
    return _problem(_STATUSES[type(refusal)], refusal.detail, refusal.errors, headers)


def _answer_http_error(error: HTTPException) -> Response:
    headers = {
        name: value for name, value in error.get_headers() if name not in ("Content-Type", "Content-Length")
    }
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    return _problem(status, error.description or status.description, (), headers)


def _answer_unavailable(error: Exception) -> Response:
    flask.current_app.logger.warning("unavailable: %s", str(error).strip())
    return _answer_refusal(
        Unavailable("Something that this needs is not available at the moment: try again.")
    )


def _problem(
    status: HTTPStatus, detail: str, errors: Sequence[FieldError], headers: Mapping[str, str]
) -> Response:
    body: dict[str, Any] = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
    if errors:
        body["errors"] = [error._asdict() for error in errors]
    return Response(orjson.dumps(body), status, headers, mimetype="application/problem+json")
