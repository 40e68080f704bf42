"""Where the services' databases are, and the administrator's way into each."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg2
from psycopg2.extensions import cursor as Cursor

from api.services import services
from connectors import relay
from connectors.relay import Database
from kernel import settings


def service_urls() -> Mapping[str, str]:
    """By service that has a database, where it is, as the service's own role."""
    return {each.name: settings.database_url(each.name) for each in services() if each.has_database}


def databases() -> list[Database]:
    """The distinct databases, each with its services."""
    return relay.databases(service_urls())


def database_of(service: str) -> Database:
    """The database that a service's schema is in."""
    return next(database for database in databases() if service in database.services)


def admin_url(database: Database) -> str:
    """A database as the administrator, who has one name and one password on every server."""
    credentials = urlsplit(settings.admin_database_url()).netloc.rpartition("@")[0]
    return f"postgresql://{credentials}@{database.host}:{database.port}/{database.name}"


def beside(url: str, database: str) -> str:
    """Another database of the same server."""
    return urlsplit(url)._replace(path=f"/{database}").geturl()


@contextmanager
def admin(url: str, **settings: str) -> Iterator[Cursor]:
    """The administrator's cursor, with these settings of the session; each statement is a transaction of its own."""
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    connection = psycopg2.connect(url, connect_timeout=5, application_name="ops", options=options)
    connection.autocommit = True
    try:
        yield connection.cursor()
    finally:
        connection.close()
