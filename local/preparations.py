"""What has to be there before services and workers start: databases, topics, schemas, the relay."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg2
import yoyo
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic
from psycopg2.errors import DuplicateDatabase, DuplicateObject
from psycopg2.extensions import cursor as Cursor
from psycopg2.sql import SQL, Composed, Identifier, Literal
from tenacity import Retrying, stop_after_delay, wait_fixed

from api.services import topics
from connectors import relay as outbox
from kernel.kafka import admin_client
from local.layout import DATABASE, PARTITIONS, ROOT, Layout, databases
from schemas.registry import register

MIGRATIONS = ROOT / "sql" / "postgres"
SLOT_TIMEOUT_S = 120.0
#: Days for which the outboxes have partitions ahead.
DAYS_AHEAD = 7


@dataclass(frozen=True)
class Preparation:
    """One thing to do; `run` changes nothing when it was done before."""

    name: str
    after: tuple[str, ...]
    run: Callable[[], None]


def preparations(layout: Layout) -> tuple[Preparation, ...]:
    """Everything to prepare in a stack."""
    return (
        Preparation("roles", ("postgresql",), lambda: make_roles(layout)),
        Preparation("migrations", ("roles",), lambda: migrate(layout)),
        Preparation("topics", ("kafka",), lambda: make_topics(layout)),
        Preparation("schemas", ("registry",), lambda: register_schemas(layout)),
        Preparation("openapi", (), lambda: write_openapi(layout)),
        Preparation("relay", ("connect", "migrations", "topics"), lambda: register_connectors(layout)),
    )


def write_openapi(layout: Layout) -> None:
    """The document that nginx serves: the services', merged."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "api.web.openapi"]
    document = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout
    layout.openapi.parent.mkdir(parents=True, exist_ok=True)
    layout.openapi.write_bytes(document)


def service_urls(layout: Layout) -> Mapping[str, str]:
    """Each service's database."""
    return {service: layout.database_url(service) for service in databases()}


def make_roles(layout: Layout) -> None:
    """Every role can log in, and sees nothing but what is granted to it by name."""
    with _admin(layout, "postgres") as cursor:
        for role in ("debezium", "registry", *databases()):
            options = SQL("LOGIN REPLICATION" if role == "debezium" else "LOGIN")
            _unless(DuplicateObject, cursor, SQL("CREATE ROLE {}").format(Identifier(role)))
            password = Literal(layout.secrets[role])
            cursor.execute(SQL("ALTER ROLE {} {} PASSWORD {}").format(Identifier(role), options, password))
        cursor.execute("REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC")
        _make_database(cursor, "registry", owner="registry")


def migrate(layout: Layout) -> None:
    """Every service's schema, brought up to date, and the publication of all outboxes."""
    make_schemas(layout, DATABASE)
    with _admin(layout, DATABASE) as cursor:
        for service in databases():
            make_outbox_partitions(cursor, service, datetime.now(UTC))
        for database in outbox.databases(service_urls(layout)):
            _publish(cursor, database)


def make_schemas(layout: Layout, database: str) -> None:
    """A database with every service's schema, made or brought up to date."""
    with _admin(layout, "postgres") as cursor:
        _make_database(cursor, database, owner="admin")
        for role in ("debezium", *databases()):
            grant = SQL("GRANT CONNECT ON DATABASE {} TO {}")
            cursor.execute(grant.format(Identifier(database), Identifier(role)))
    with _admin(layout, database) as cursor:
        cursor.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        for service in databases():
            name = Identifier(service)
            cursor.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
            cursor.execute(SQL("GRANT USAGE ON SCHEMA {} TO {}, debezium").format(name, name))
            cursor.execute(SQL("ALTER ROLE {} SET search_path = {}").format(name, name))
    for service in databases():
        _apply_migrations(layout, service, database)


def make_outbox_partitions(cursor: Cursor, service: str, now: datetime) -> None:
    """A partition for each of the next days, from now's on, unless the default partition has rows of that day."""
    for ahead in range(DAYS_AHEAD + 1):
        day = (now + timedelta(days=ahead)).replace(hour=0, minute=0, second=0, microsecond=0)
        span = {"first": Literal(day), "next": Literal(day + timedelta(days=1))}
        default = Identifier(service, "outbox_default")
        strays = SQL("SELECT FROM {default} WHERE occurred_at >= {first} AND occurred_at < {next} LIMIT 1")
        cursor.execute(strays.format(default=default, **span))
        if cursor.fetchone() is not None:
            continue
        create = SQL(
            "CREATE TABLE IF NOT EXISTS {part} PARTITION OF {outbox} FOR VALUES FROM ({first}) TO ({next})"
        )
        part = Identifier(service, f"outbox_{day:%Y%m%d}")
        cursor.execute(create.format(part=part, outbox=Identifier(service, "outbox"), **span))


def make_topics(layout: Layout) -> None:
    """Our topics keep everything; the connectors' heartbeats are for nobody."""
    for_ever = {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "compression.type": "producer",
    }
    brief = {"cleanup.policy": "delete", "retention.ms": "3600000"}
    ours = [NewTopic(topic, PARTITIONS, 1, config=for_ever) for topic in topics()]
    theirs = [
        NewTopic(database.heartbeat_topic, 1, 1, config=brief)
        for database in outbox.databases(service_urls(layout))
    ]
    admin = admin_client(layout.address("kafka"))
    for created in admin.create_topics([*ours, *theirs]).values():
        try:
            created.result(timeout=30)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def register_schemas(layout: Layout) -> None:
    """Raises IncompatibleSchema when a changed schema breaks readers."""
    register(layout.environment["MAREA_REGISTRY_URL"])


def register_connectors(layout: Layout) -> None:
    """Every database's connector runs, and its slot is in use. Raises RelayDown otherwise."""
    for database in outbox.databases(service_urls(layout)):
        outbox.register(layout.environment["MAREA_CONNECT_URL"], database)
        _await_slot(layout, database.slot)


def _await_slot(layout: Layout, slot: str) -> None:
    """A connector that says RUNNING may still be at its snapshot; its slot is in use when it follows the log."""
    with _admin(layout, DATABASE) as cursor:
        for attempt in Retrying(stop=stop_after_delay(SLOT_TIMEOUT_S), wait=wait_fixed(0.1), reraise=True):
            with attempt:
                cursor.execute("SELECT active FROM pg_replication_slots WHERE slot_name = %s", (slot,))
                if cursor.fetchone() != (True,):
                    raise outbox.RelayDown(
                        f"nobody reads the replication slot {slot}: see `./marea logs connect`"
                    )


def _apply_migrations(layout: Layout, service: str, database: str) -> None:
    logging.getLogger("yoyo.migrations").setLevel(logging.WARNING)
    # The schema's bookkeeping is in the schema: a service can move to a database of its own.
    url = layout.database_url("admin", database)
    with yoyo.get_backend(f"{url}?schema={service}") as backend, backend.lock():
        found = yoyo.read_migrations(str(MIGRATIONS / "engine"), str(MIGRATIONS / service))
        backend.apply_migrations(backend.to_apply(found))


def _publish(cursor: Cursor, database: outbox.Database) -> None:
    publication = Identifier(database.slot)
    tables = SQL(", ").join(Identifier(service, "outbox") for service in database.services)
    options = SQL("publish = 'insert', publish_via_partition_root = true")
    create = SQL("CREATE PUBLICATION {} FOR TABLE {} WITH ({})").format(publication, tables, options)
    if not _unless(DuplicateObject, cursor, create):
        cursor.execute(SQL("ALTER PUBLICATION {} SET TABLE {}").format(publication, tables))


def _make_database(cursor: Cursor, name: str, owner: str) -> None:
    create = SQL("CREATE DATABASE {} OWNER {}").format(Identifier(name), Identifier(owner))
    _unless(DuplicateDatabase, cursor, create)
    cursor.execute(SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(Identifier(name)))


def _unless(duplicate: type[psycopg2.Error], cursor: Cursor, statement: Composed) -> bool:
    """Executes the statement; False when what it makes is there already."""
    try:
        cursor.execute(statement)
    except duplicate:
        return False
    return True


@contextmanager
def _admin(layout: Layout, database: str) -> Iterator[Cursor]:
    """A cursor of the superuser; each statement is a transaction of its own."""
    connection = psycopg2.connect(layout.database_url("admin", database))
    connection.autocommit = True
    try:
        yield connection.cursor()
    finally:
        connection.close()
