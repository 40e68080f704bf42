"""What people have done by hand is kept with what they did, and for good: in PostgreSQL."""

from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from kernel import audit
from kernel.audit import Note
from kernel.postgres import connect
from local.layout import Layout
from tests.contract.conftest import DATABASE
from tests.events import START


@pytest.fixture
def connection(layout: Layout) -> Iterator[Connection]:
    with closing(connect(layout.database_url("orders", DATABASE), "contract", 5)) as connection:
        yield connection


def noted(reason: str, aggregate_id: str) -> Note:
    return Note(START, "operator", "settle", aggregate_id, reason, {"amount_minor": 7})


def test_a_note_is_there_once_the_transaction_of_what_was_done_commits(connection: Connection) -> None:
    aggregate_id = str(uuid4())
    with connection.cursor() as cursor:
        audit.note(cursor, noted("by mistake", aggregate_id))
        connection.rollback()
        assert audit.notes(cursor, aggregate_id) == []
        audit.note(cursor, noted("the provider says so", aggregate_id))
        audit.note(cursor, noted("and so does the bank", aggregate_id))
        connection.commit()
        found = audit.notes(cursor, aggregate_id)
    assert found == [noted("the provider says so", aggregate_id), noted("and so does the bank", aggregate_id)]


@pytest.mark.parametrize("statement", ["UPDATE audit SET reason = ''", "DELETE FROM audit", "TRUNCATE audit"])
def test_a_service_can_neither_change_nor_delete_what_was_noted(connection: Connection, statement: str) -> None:
    with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute(statement)
