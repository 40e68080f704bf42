"""What the OpenAPI document says of every operation alike: how it may fail, and which headers come and go."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from api.web.operators import OPERATOR
from api.web.preconditions import TAGS


class _Failure(NamedTuple):
    """Why an operation may answer with a problem, and the headers of that answer: their meaning by name."""

    why: str
    headers: Mapping[str, str] = {}


_FAILURES = {
    HTTPStatus.BAD_REQUEST: _Failure("The request can't be read: it is no HTTP, a header is malformed, the body no JSON."),
    HTTPStatus.UNAUTHORIZED: _Failure(
        "Only staff may do this, and the operator's key is missing or wrong; or a webhook's signature is.", {"WWW-Authenticate": "How to say who one is."}
    ),
    HTTPStatus.NOT_FOUND: _Failure("There is nothing at this path."),
    HTTPStatus.METHOD_NOT_ALLOWED: _Failure(
        "The path does not have this method.", {"Allow": "The methods that it has."}
    ),
    HTTPStatus.CONFLICT: _Failure("The state of what would change does not allow it."),
    HTTPStatus.PRECONDITION_FAILED: _Failure("It is not, or not any more, what the sender has seen."),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _Failure(
        "The body has more than 4 MiB, decompressed or not, or what would be written about it is too large."
    ),
    HTTPStatus.REQUEST_URI_TOO_LONG: _Failure("The address has more than 8,000 bytes."),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: _Failure(
        "The body is not JSON, or compressed in a way that is not read.",
        {"Accept-Encoding": "The ways that are read, if that is it."},
    ),
    HTTPStatus.UNPROCESSABLE_ENTITY: _Failure("The request can be read and can't be meant: `errors` names the fields."),
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: _Failure("The headers are too long."),
    HTTPStatus.BAD_GATEWAY: _Failure("The service does not answer: try again."),
    HTTPStatus.SERVICE_UNAVAILABLE: _Failure(
        "Not now: try again.", {"Retry-After": "The seconds to wait before that."}
    ),
    HTTPStatus.GATEWAY_TIMEOUT: _Failure("The service took too long. What was asked may still happen."),
}

#: What companies outside tell comes here, signed.
_WEBHOOKS = "/v1/webhooks/"

_ETAG = "Its version, for If-Match and If-None-Match."

#: May be answered to anything.
_ALWAYS = (400, 413, 414, 422, 431, 502, 503, 504)

_CONDITIONS = {
    "If-Match": "Only if its ETag is one of these, or *: otherwise 412.",
    "If-None-Match": "Only if its ETag is none of these: otherwise 304.",
}


SECURITY_SCHEMES = {
    OPERATOR: {"type": "http", "scheme": "bearer", "description": "The operator's key, which is for staff only."}
}


def responses() -> dict[str, Any]:
    """Every problem, for the document's components."""
    return {
        _name(status): {
            "description": why,
            "headers": {name: _header(meaning) for name, meaning in headers.items()},
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, (why, headers) in _FAILURES.items()
    }


def describe(method: str, path: str, operation: dict[str, Any], schemas: Mapping[str, Any]) -> None:
    """Adds to an operation what follows from what it is; `schemas` are the document's."""
    parameters = operation.setdefault("parameters", [])
    if of_staff := [each for each in parameters if each["name"] == "Authorization"]:
        # A scheme and no parameter: those of this name mean nothing in OpenAPI.
        parameters.remove(*of_staff)
        operation["security"] = [{OPERATOR: []}]
    for parameter in parameters:
        _never_null(parameter["schema"])
    answers = operation["responses"]
    versioned = _has_version(answers, schemas)
    if versioned and method == "get":
        parameters += [_condition(name) for name in _CONDITIONS]
        answers["304"] = {"description": "The sender has it already.", "headers": {"ETag": _header(_ETAG)}}
    for status in [status for status in answers if status.startswith("2")]:
        answers[status].setdefault("headers", {}).update(_headers(method, status, versioned=versioned))
    for status in _failures(method, path, operation):
        answers[str(status)] = {"$ref": f"#/components/responses/{_name(HTTPStatus(status))}"}


def _headers(method: str, status: str, *, versioned: bool) -> dict[str, Any]:
    """What comes with an answer that is no failure."""
    headers = {"ETag": _header(_ETAG)} if versioned else {}
    if method != "get" and status != "204":
        headers["Marea-Token"] = _header("With it, reads see what this has changed.")
    if status == "201":
        headers["Location"] = _header("Where it can be read.")
    return headers


def _failures(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[int]:
    yield from _ALWAYS
    if "security" in operation or path.startswith(_WEBHOOKS):
        yield HTTPStatus.UNAUTHORIZED
    if "{" in path:
        yield HTTPStatus.NOT_FOUND
    if any(parameter["name"] == "If-Match" for parameter in operation["parameters"]):
        yield HTTPStatus.PRECONDITION_FAILED
    if method != "get":
        yield HTTPStatus.CONFLICT
    if "requestBody" in operation:
        yield HTTPStatus.UNSUPPORTED_MEDIA_TYPE


def _has_version(answers: Mapping[str, Any], schemas: Mapping[str, Any]) -> bool:
    """Whether what it gives is one thing with a version."""
    contents = [answer.get("content", {}) for status, answer in answers.items() if status.startswith("2")]
    references = [each["schema"].get("$ref", "") for content in contents for each in content.values()]
    return any("version" in schemas[each.rpartition("/")[2]]["properties"] for each in references if each)


def _condition(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": _CONDITIONS[name],
        "schema": {"type": "string", "pattern": TAGS},
        "example": '"3"',
    }


def _header(meaning: str) -> dict[str, Any]:
    return {"description": meaning, "schema": {"type": "string"}}


def _name(status: HTTPStatus) -> str:
    return status.phrase.title().replace(" ", "").replace("-", "")


def _never_null(schema: dict[str, Any]) -> None:
    """What is optional is left out: there is no null in an address or a header."""
    left = [each for each in schema.pop("anyOf", ()) if each.get("type") != "null"]
    if left:
        schema.update(*left)
        schema.pop("default", None)
