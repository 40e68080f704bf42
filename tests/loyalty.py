"""A service that there is not, for tests of what follows from its manifest."""

from pathlib import Path
from textwrap import dedent

ROUTES = '''
    """The points over HTTP."""

    from flask import Response
    from flask_openapi3.openapi import OpenAPI

    from api.loyalty.service import SERVICE
    from api.web import app as web
    from api.web import replies
    from api.web.requests import Id, Path


    class Customer(Path):
        customer: Id


    def get_points(path: Customer) -> Response:
        """How many points a customer has."""
        return replies.reply({"customer": path.customer, "points": 0})


    def create_app() -> OpenAPI:
        routes = web.blueprint(SERVICE)
        routes.get("/v1/points/<customer>")(get_points)
        return web.create_app(SERVICE, routes)
'''
MANIFEST = '''
    """The points."""

    from flask_openapi3.openapi import OpenAPI

    from api.loyalty import views
    from api.manifest import Resources, Service, gauge
    from streams.engine.consumer import Reaction


    def _create_app(given: Resources) -> OpenAPI:
        from api.loyalty import routes

        return routes.create_app()


    SERVICE = Service(
        name="loyalty",
        number=42,
        summary="What customers get for coming back.",
        create_app=_create_app,
        paths=("points",),
        streams=("points/stream",),
        views=views,
        {more}
    )
'''
VIEW = '''
    """The points of each customer."""

    TOPIC = "marea.order"


    def fold(row, event):
        return row


    def expected(states):
        return ()
'''
WITHOUT_DATABASE = "has_database=False,"


def write_loyalty(api: Path, more: str) -> None:
    """The service's folder, in the one of all services; `more` is in its manifest, too."""
    (api / "loyalty" / "views").mkdir(parents=True)
    for name, text in (
        ("__init__.py", ""),
        ("service.py", dedent(MANIFEST).replace("{more}", more.strip())),
        ("routes.py", dedent(ROUTES)),
        ("views/__init__.py", ""),
        ("views/points.py", dedent(VIEW)),
    ):
        (api / "loyalty" / name).write_text(text)
