"""A service as a WSGI application."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from time import perf_counter
from typing import Any

import flask
from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.info import Info
from flask_openapi3.models.tag import Tag
from flask_openapi3.openapi import OpenAPI
from pydantic import ValidationError
from werkzeug.routing import MapAdapter

from api.manifest import Service
from api.web import durations, operators, preconditions, problems
from api.web.replies import Reply, reply
from api.web.requests import MAX_BODY_BYTES, Request
from kernel import health


class _Blueprint(APIBlueprint):
    """Routes with their models. flask-openapi3 documents them; of each request it would read every header and more."""

    @staticmethod
    def create_view_func(func: Callable[..., Response], *models: Any, **_: Any) -> Any:
        """What Flask calls: gives the route each part of the request that it asks for, as the model that it names."""
        header, _cookie, path, query, _form, body, *_rest = models

        @wraps(func)
        def view(**parts: Any) -> Response:
            given: dict[str, Any] = {}
            try:
                if header:
                    given["header"] = header.read(request.headers)
                    operators.check(given["header"])
                if path:
                    given["path"] = path.model_validate(parts)
                if query:
                    given["query"] = query.model_validate(request.args.to_dict())
                if body:
                    given["body"] = body.model_validate(request.get_json())
            except ValidationError as error:
                problems.refuse_invalid(error)
            return func(**given)

        return view


class _App(OpenAPI):
    """Notes how long each answer takes; leaves out what Flask does for each request that no service needs."""

    response_class = Reply

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """No route is a coroutine, so none has to be asked."""
        return func

    def create_url_adapter(self, request: flask.Request | None) -> MapAdapter | None:
        """Looks for the route by path and method; which host the sender named means nothing."""
        if request is None:
            return None
        return MapAdapter(self.url_map, "localhost", "/", "", "http", request.path, request.method)

    def full_dispatch_request(self, *arguments: Any) -> Response:
        """The answer; whatever is raised is one, too, of status 500."""
        began = perf_counter()
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR
        try:
            answer = super().full_dispatch_request(*arguments)
            status = answer.status_code
            return answer
        finally:
            rule = request.url_rule
            durations.note(request.method, rule.rule if rule else "", status, perf_counter() - began)

    def make_default_options_response(self) -> Response:
        """The methods that the path has, in Allow. Flask would say that there is HTML in the body, which is empty."""
        answer = super().make_default_options_response()
        answer.status_code = HTTPStatus.NO_CONTENT
        del answer.headers["Content-Type"]
        return answer


def blueprint(service: Service) -> APIBlueprint:
    """What a service's routes are added to."""
    return _Blueprint(service.name, service.name, abp_tags=[Tag(name=service.name)])


def create_app(
    service: Service, routes: APIBlueprint, ping: Callable[[], None] | None = None, operator_key: str = ""
) -> OpenAPI:
    """The service with these routes. It is ready when `ping`, if there is one, returns.

    Staff's routes (api.web.operators.Staff) are for those who send the operator's key; without one, for nobody.
    """
    app = _App(
        service.name,
        info=Info(title=f"Marea {service.name}", version="1.0.0", description=service.summary),
        validation_error_model=problems.Problem,
        doc_ui=False,  # the front door has the document of all services, and the page to try it
        static_folder=None,
    )
    app.request_class = Request
    app.url_map.merge_slashes = False  # Werkzeug would redirect to whatever Host says
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config[operators.CONFIG] = operator_key
    app.after_request(preconditions.answer_unchanged)
    problems.register(app)
    app.register_api(routes)

    @app.get(health.METRICS, doc_ui=False)
    def metrics() -> Response:
        return Response(health.exposition(), content_type=health.METRICS_TYPE)

    @app.get(health.LIVE, doc_ui=False)
    def live() -> Response:
        return reply(health.OK)

    @app.get(health.READY, doc_ui=False)
    def ready() -> Response:
        if ping:
            ping()
        return reply(health.OK)

    return app
