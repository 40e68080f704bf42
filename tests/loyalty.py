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

    from api.loyalty import views, work
    from api.manifest import Resources, Service, gauge
    from kernel.tasks import Call
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


#: With a reaction that starts now, and a call that it asks for.
WITH_CALLS = """
        reactions=(
            Reaction(
                "loyalty.points", "loyalty", "marea.order", frozenset({"OrderPlaced"}), work.handle, iter, "", start="now"
            ),
        ),
        calls=(Call("gift", work.open_gift, work.record, print, settings=("GIFT_POINTS",), secrets=("GIFT_KEY",)),),
        settings={"GIFT_POINTS": "7", "GIFT_NAME": "mug"},
        secrets=("STAFF_KEY",),
"""
WORK = '''
    """What is given to whoever orders, which is asked of somebody else."""

    from datetime import UTC, datetime

    from kernel import tasks
    from kernel.tasks import Task


    def handle(cursor, events):
        for event in events:
            cursor.execute("INSERT INTO points (order_id) VALUES (%s)", (event.key,))
        tasks.ask(cursor, [Task(event.key, "gift", {}) for event in events], datetime.now(UTC))


    def open_gift(read):
        points = int(read("GIFT_POINTS")) if read("GIFT_KEY") else 0
        return lambda task: points


    def record(cursor, answered, context):
        for task, points in answered:
            cursor.execute(
                "UPDATE points SET given = given + %s, times = times + 1 WHERE order_id = %s", (points, task.id)
            )
'''
SQL = """
    CREATE TABLE points (order_id text PRIMARY KEY, given bigint NOT NULL DEFAULT 0, times bigint NOT NULL DEFAULT 0);
    GRANT SELECT, INSERT, UPDATE ON points TO loyalty;
"""


def write_tables(sql: Path) -> None:
    """What a service with calls needs in its schema; `sql` is the folder of all services' migrations."""
    (sql / "loyalty").mkdir()
    (sql / "loyalty" / "0001_points.sql").write_text(dedent(SQL))


def write_loyalty(api: Path, more: str) -> None:
    """The service's folder, in the one of all services; `more` is in its manifest, too."""
    (api / "loyalty" / "views").mkdir(parents=True)
    for name, text in (
        ("__init__.py", ""),
        ("service.py", dedent(MANIFEST).replace("{more}", more.strip())),
        ("routes.py", dedent(ROUTES)),
        ("work.py", dedent(WORK)),
        ("views/__init__.py", ""),
        ("views/points.py", dedent(VIEW)),
    ):
        (api / "loyalty" / name).write_text(text)
