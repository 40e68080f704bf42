"""Roles, databases, schemas, grants and publications: every service's database brought up to date.

Whatever is there already stays as it is.
"""

import logging
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg2
import yoyo
from psycopg2.errors import DuplicateDatabase, DuplicateObject
from psycopg2.extensions import cursor as Cursor
from psycopg2.sql import SQL, Composed, Identifier, Literal

from api.services import service as find_service
from connectors.relay import ROLE, Database
from kernel import settings
from ops.databases import admin, admin_url, beside, databases, service_urls
from ops.outboxes import LOCK_TIMEOUT, make_partitions

_MIGRATIONS = Path(__file__).parents[1] / "sql" / "postgres"


def migrate() -> None:
    """All of it, in every database that a service has, and what housekeeping notes in the administrator's."""
    passwords = {service: unquote(urlsplit(url).password or "") for service, url in service_urls().items()}
    for database in databases():
        url = admin_url(database)
        with admin(beside(url, "postgres")) as cursor:
            make_role(cursor, ROLE, settings.debezium_password(), replication=True)
            for service in database.services:
                make_role(cursor, service, passwords[service])
        make_schemas(url, database.services)
        with admin(url, lock_timeout=LOCK_TIMEOUT) as cursor:
            for service in database.services:
                make_partitions(cursor, service, datetime.now(UTC))
            _publish(cursor, database)
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute("CREATE SCHEMA IF NOT EXISTS ops")
    _apply_migrations(settings.admin_database_url(), "ops", "ops")


def make_role(cursor: Cursor, role: str, password: str, *, replication: bool = False) -> None:
    """A role that can log in, and sees nothing but what is granted to it by name."""
    _unless(DuplicateObject, cursor, SQL("CREATE ROLE {}").format(Identifier(role)))
    options = SQL("LOGIN REPLICATION" if replication else "LOGIN")
    cursor.execute(SQL("ALTER ROLE {} {} PASSWORD {}").format(Identifier(role), options, Literal(password)))


def make_database(cursor: Cursor, name: str, owner: str) -> None:
    """A database that only its owner can enter."""
    create = SQL("CREATE DATABASE {} OWNER {}").format(Identifier(name), Identifier(owner))
    _unless(DuplicateDatabase, cursor, create)
    cursor.execute(SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(Identifier(name)))


def make_schemas(url: str, services: Collection[str]) -> None:
    """The administrator's `url` has a schema for each of these services, whose roles exist, up to date."""
    parts = urlsplit(url)
    name = parts.path[1:]
    with admin(beside(url, "postgres")) as cursor:
        make_database(cursor, name, owner=unquote(parts.username or ""))
        for role in (ROLE, *services):
            grant = SQL("GRANT CONNECT ON DATABASE {} TO {}")
            cursor.execute(grant.format(Identifier(name), Identifier(role)))
    with admin(url) as cursor:
        cursor.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        for service in services:
            _make_schema(cursor, service)
    for service in services:
        _apply_migrations(url, service, "engine", service)
    with admin(url) as cursor:
        for service in services:
            _own_topics(cursor, service, find_service(service).topics)


def _make_schema(cursor: Cursor, service: str) -> None:
    names = {"schema": Identifier(service), "relay": Identifier(ROLE)}
    cursor.execute(SQL("CREATE SCHEMA IF NOT EXISTS {schema}").format(**names))
    cursor.execute(SQL("GRANT USAGE ON SCHEMA {schema} TO {schema}, {relay}").format(**names))
    cursor.execute(SQL("ALTER ROLE {schema} SET search_path = {schema}").format(**names))


def _apply_migrations(url: str, schema: str, *folders: str) -> None:
    logging.getLogger("yoyo.migrations").setLevel(logging.WARNING)
    # The schema's bookkeeping is in the schema: a service can move to a database of its own.
    with yoyo.get_backend(f"{url}?schema={schema}") as backend, backend.lock():
        found = yoyo.read_migrations(*(str(_MIGRATIONS / folder) for folder in folders))
        backend.apply_migrations(backend.to_apply(found))


def _own_topics(cursor: Cursor, service: str, topics: Collection[str]) -> None:
    """The service's outbox takes events of these topics and of no other; a comment tells what it has been told."""
    owned = ", ".join(sorted(topics))
    outbox = Identifier(service, "outbox")
    cursor.execute(
        "SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE conname = 'owned' AND conrelid = %s::regclass",
        (outbox.as_string(cursor),),
    )
    if cursor.fetchone() == (owned,):
        return
    # Not valid: what is in it already has been published. Only its owner has ever written there.
    rule = SQL("ADD CONSTRAINT owned CHECK (aggregatetype = ANY ({aggregates}::text[])) NOT VALID").format(
        aggregates=Literal([topic.rpartition(".")[2] for topic in sorted(topics)])
    )
    cursor.execute(SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS owned, {}").format(outbox, rule))
    cursor.execute(SQL("COMMENT ON CONSTRAINT owned ON {} IS {}").format(outbox, Literal(owned)))


def _publish(cursor: Cursor, database: Database) -> None:
    publication = Identifier(database.slot)
    tables = SQL(", ").join(Identifier(service, "outbox") for service in database.services)
    options = SQL("publish = 'insert', publish_via_partition_root = true")
    create = SQL("CREATE PUBLICATION {} FOR TABLE {} WITH ({})").format(publication, tables, options)
    if not _unless(DuplicateObject, cursor, create):
        cursor.execute(SQL("ALTER PUBLICATION {} SET TABLE {}").format(publication, tables))


def _unless(duplicate: type[psycopg2.Error], cursor: Cursor, statement: Composed) -> bool:
    """Executes the statement; False when what it makes is there already."""
    try:
        cursor.execute(statement)
    except duplicate:
        return False
    return True
