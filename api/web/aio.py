"""A service as an application of aiohttp, for answers that go on: described, checked and refused as all others are."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from time import perf_counter
from typing import Any, NamedTuple, TypeVar, get_type_hints

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from api.manifest import Service
from api.web import app as wsgi
from api.web import durations, problems
from api.web.requests import Query
from kernel import health
from kernel.refusals import FieldError, Malformed, Refused

log = logging.getLogger(__name__)

_Model = TypeVar("_Model", bound=BaseModel)

#: What such services answer with.
_TYPE = "text/event-stream"

#: A route's handler takes the request, its headers, its query and, if that has parts that vary, its path: all but the first by
#: the models in its annotations.
Route = Callable[..., Awaitable[web.StreamResponse]]
#: What a route may answer, as flask-openapi3 takes it.
Responses = dict[str | int | HTTPStatus, type[BaseModel] | dict[Any, Any] | None]


class AsyncApp(NamedTuple):
    """A service: what aiohttp serves, and what it is in OpenAPI."""

    application: web.Application
    api_doc: dict[str, Any]


def create_app(
    service: Service, routes: Mapping[str, Route], responses: Responses, check: Callable[[], None]
) -> AsyncApp:
    """The service with these routes, each for GET and HEAD; what varies in a path is in braces. It is ready when `check` returns."""

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=health.exposition(), headers={"Content-Type": health.METRICS_TYPE})

    async def live(request: web.Request) -> web.Response:
        return _json(health.OK)

    async def ready(request: web.Request) -> web.Response:
        check()
        return _json(health.OK)

    application = web.Application(middlewares=[_note_duration, _answer_problems])
    for path, handler in ((health.METRICS, metrics), (health.LIVE, live), (health.READY, ready)):
        application.router.add_get(path, handler)
    described = wsgi.blueprint(service)
    for path, route in routes.items():
        application.router.add_get(path, _checked(route))
        described.get(path.replace("{", "<").replace("}", ">"), responses=responses)(route)
    return AsyncApp(application, wsgi.create_app(service, described).api_doc)


def _checked(route: Route) -> Handler:
    """A handler that gets requests as its models allow, and no others."""
    models = get_type_hints(route)
    lists = _lists(models["query"])

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.version < HttpVersion11:
            raise web.HTTPVersionNotSupported
        if request.body_exists:
            # What is not read would keep us from noticing that its sender hangs up.
            raise Malformed("Send no body: there is nothing to do with it.")
        if not parse_accept_header(request.headers.get("Accept", "*/*"), MIMEAccept).quality(_TYPE):
            raise web.HTTPNotAcceptable
        given = {"header": models["header"].read(request.headers), "query": _query(models["query"], lists, request)}
        if "path" in models:
            given["path"] = _validated(models["path"], request.match_info)
        return await route(request, **given)

    return handle


def _lists(model: type[Query]) -> frozenset[str]:
    """The names of what may come more than once."""
    properties = model.model_json_schema().get("properties", {})
    return frozenset(name for name, schema in properties.items() if schema.get("type") == "array")


def _query(model: type[Query], lists: frozenset[str], request: web.Request) -> Query:
    """A list may be given one by one; of anything else the first counts, as everywhere."""
    given = {name: request.query.getall(name) if name in lists else request.query[name] for name in request.query}
    return _validated(model, given)


def _validated(model: type[_Model], given: Mapping[str, Any]) -> _Model:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        problems.refuse_invalid(error)


def _json(body: Mapping[str, str]) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")


@web.middleware
async def _note_duration(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Of a stream, how long it went on."""
    began = perf_counter()
    answer = await handler(request)
    resource = request.match_info.route.resource
    durations.note(request.method, resource.canonical if resource else "", answer.status, perf_counter() - began)
    return answer


@web.middleware
async def _answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refusal:
        return _problem(problems.status_of(refusal), refusal.detail, refusal.errors, problems.headers_of(refusal))
    except web.HTTPException as error:
        status = HTTPStatus(error.status)
        return _problem(status, status.description, headers={n: v for n, v in error.headers.items() if n == "Allow"})
    except Exception:
        log.exception("%s %s", request.method, request.path)
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return _problem(status, status.description)


def _problem(
    status: HTTPStatus, detail: str, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
) -> web.Response:
    body = problems.content(status, detail, errors)
    return web.Response(body=body, status=status, headers=headers, content_type="application/problem+json")
