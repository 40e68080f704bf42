"""A service as a WSGI application."""

from functools import cache

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.info import Info
from flask_openapi3.models.tag import Tag
from flask_openapi3.openapi import OpenAPI

from api.web import problems
from api.web.replies import reply
from api.web.requests import MAX_BODY_BYTES, Request
from kernel import settings
from kernel.database import Database
from streams.engine.reader import Views


def blueprint(service: str) -> APIBlueprint:
    """The routes of a service."""
    return APIBlueprint(
        service,
        service,
        abp_tags=[Tag(name=service)],
        abp_responses={"default": problems.RESPONSE, "422": problems.RESPONSE},
    )


def create_app(routes: APIBlueprint, database: Database, description: str) -> OpenAPI:
    """The service as a WSGI application. Nothing is connected to before the first request."""
    app = OpenAPI(
        routes.name,
        info=Info(title=f"Marea {routes.name}", version="1.0.0", description=description),
        validation_error_model=problems.Problem,
        validation_error_callback=problems.refuse_invalid,
        doc_prefix="/v1",
    )
    app.request_class = Request
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    problems.register(app)
    app.register_api(routes)

    @app.get("/health", doc_ui=False)
    def health() -> Response:
        with database.statements() as cursor:
            cursor.execute("SELECT 1")
        return reply({"status": "ok"})

    return app


@cache
def views() -> Views:
    """This process's reader of views."""
    return Views(settings.redis_url(), settings.partitions())
