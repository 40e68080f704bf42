"""What a request may bring: its parts as models, checked before a route is called."""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Self

import flask
from flask import request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from werkzeug.exceptions import UnsupportedMediaType

from api.web import bodies
from kernel import refusals
from kernel.clock import Clock
from kernel.context import Context
from kernel.refusals import FieldError, Invalid
from schemas.event import iso_utc

#: Decompressed, too. A batch of 1,000 products whose texts are as long as allowed, in characters of four bytes, has
#: 3.3 MB.
MAX_BODY_BYTES = 4 * 1024 * 1024

#: The most fields that one problem names.
_MAX_ERRORS = 100

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

#: An id that a sender chooses: of a product, of a customer. It is safe in a path and as a Kafka key.
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]

#: Text without control characters; PostgreSQL refuses NUL.
Text = Annotated[str, Field(pattern=r"^[^\x00-\x1F\x7F]*$", max_length=200)]


def _as_utc(text: str) -> str:
    try:
        return iso_utc(datetime.fromisoformat(text.upper()))
    except (ValueError, OverflowError) as error:
        raise PydanticCustomError("time", "Input should be a time that there is") from error


#: A time (RFC 3339) in whichever zone, down to microseconds; kept in the one way that times are written in JSON.
Time = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})$",
        json_schema_extra={"format": "date-time"},
    ),
    AfterValidator(_as_utc),
]


class Body(BaseModel):
    """A JSON object in a request: nothing is converted, nothing unknown is let through."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _few_unknown(cls, data: Any) -> Any:
        """Each unknown field would be an error of its own, which costs memory."""
        if isinstance(data, dict) and len(data) > len(cls.model_fields) + _MAX_ERRORS:
            numbers = {"number": len(data), "known": len(cls.model_fields)}
            raise PydanticCustomError("too_many", "Has {number} fields, where {known} are known", numbers)
        return data


class Path(BaseModel):
    """The variable parts of a path."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Query(BaseModel):
    """What follows the ? of an address."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Headers(BaseModel):
    """Headers that mean something to us. A malformed one is a bad request."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @classmethod
    def read(cls, sent: Mapping[str, str]) -> Self:
        """Those of its fields that were sent. Raises Malformed, where bodies and queries are Invalid."""
        try:
            return cls.model_validate({name: value for name in _names(cls) if (value := sent.get(name)) is not None})
        except ValidationError as error:
            errors = field_errors(error)
            raise refusals.Malformed(f"Header {errors[0].field}: {errors[0].message}.", errors) from error


@cache
def _names(headers: type[Headers]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in headers.model_fields.items())


class Request(flask.Request):
    """A request whose body is JSON or refused, whichever way it is asked for; `body` is what was read of it."""

    body: dict[str, Any] | None = None

    def get_json(self, *_: Any, **__: Any) -> dict[str, Any]:
        """The object in the body. Always raises when there is none, asked to be silent or not: 415, 400, 422."""
        if not self.is_json:
            raise UnsupportedMediaType("The body must be JSON, with Content-Type: application/json.")
        content = self._content()
        encoding = self.headers.get("Content-Encoding", "")
        body = bodies.parse(bodies.decompressed(content, encoding, MAX_BODY_BYTES))
        if not isinstance(body, dict):
            raise Invalid("The body must be a JSON object.")
        self.body = body
        return body

    def _content(self) -> bytes:
        length = self.content_length
        if length is not None and length <= MAX_BODY_BYTES:
            # The server gives no more than this, and less when the client has hung up.
            return self.environ["wsgi.input"].read(length)  # type: ignore[no-any-return]
        content = self.get_data(cache=False)
        # What a chunked body has over the limit is cut off; asking for more of it is what refuses it.
        self.stream.read(1)
        return content


def context(clock: Clock) -> Context:
    """The request that is being handled, as the context of events."""
    traceparent = request.headers.get("traceparent", "")
    return clock.context(traceparent if _TRACEPARENT.fullmatch(traceparent) else None)


def field_errors(error: ValidationError) -> list[FieldError]:
    """Each field that a model refuses, by its path."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        FieldError(".".join(map(str, detail["loc"])) or "body", detail["msg"])
        for detail in details[:_MAX_ERRORS]
    ]
