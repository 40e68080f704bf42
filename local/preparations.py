"""What has to be there before services and workers start: databases, topics, where reactions begin, schemas, the relay."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from kernel import settings
from local.layout import ROOT, Layout
from ops.databases import admin
from ops.migrate import make_database, make_role, migrate
from ops.relay import register_connectors
from ops.starts import note_starts
from ops.topics import make_topics
from schemas.registry import register


@dataclass(frozen=True)
class Preparation:
    """One thing to do; `run` changes nothing when it was done before."""

    name: str
    after: tuple[str, ...]
    run: Callable[[], None]


def preparations(layout: Layout) -> tuple[Preparation, ...]:
    """Everything to prepare in a stack."""

    def told(work: Callable[[], None]) -> Callable[[], None]:
        """The work, told by settings where this stack is."""

        def run() -> None:
            os.environ.update(layout.environment)
            work()

        return run

    return (
        Preparation("server", ("postgresql",), lambda: prepare_server(layout)),
        Preparation("migrations", ("server",), told(migrate)),
        Preparation("topics", ("kafka",), told(make_topics)),
        Preparation("starts", ("migrations", "topics"), told(note_starts)),
        Preparation("schemas", ("registry",), told(_register_schemas)),
        Preparation("web", (), lambda: write_web(layout)),
        Preparation("relay", ("connect", "migrations", "starts"), told(register_connectors)),
    )


def write_web(layout: Layout) -> None:
    """The files that nginx serves, made aside: whoever puts the services together needs all that they import."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "api.web.files", str(layout.web)], check=True, env=environment)


def prepare_server(layout: Layout) -> None:
    """This machine's PostgreSQL lets nobody in who was not let in by name, and holds the registry, too."""
    with admin(layout.database_url("admin", "postgres")) as cursor:
        cursor.execute("REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC")
        make_role(cursor, "registry", layout.secrets["registry"])
        make_role(cursor, "exporter", layout.secrets["exporter"])
        cursor.execute("GRANT pg_monitor TO exporter")
        cursor.execute("GRANT CONNECT ON DATABASE postgres TO exporter")
        make_database(cursor, "registry", owner="registry")


def _register_schemas() -> None:
    register(settings.registry_url())
