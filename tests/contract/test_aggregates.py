"""Aggregates that are kept as their last event tells them: one set of tests for PostgreSQL and for memory."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple, cast
from uuid import uuid4

import pytest

from api.services import service as manifest
from kernel.aggregates import Aggregates, Changed, Kept, shown
from kernel.answers import AlreadyAnswered
from kernel.database import Database
from kernel.deadlines import Due
from local.layout import Layout
from ops.databases import admin
from schemas.event import Event, jsonable
from tests.contract.conftest import DATABASE, Subject, answer
from tests.events import START, life


class Table(NamedTuple):
    """Where a service keeps aggregates of a topic; `begins` are those of which something has happened from the first row on."""

    service: str
    attribute: str
    topic: str
    begins: bool = False


TABLES = (
    Table("orders", "orders", "marea.order", begins=True),
    Table("orders", "exchanges", "marea.exchange", begins=True),
    Table("inventory", "reservations", "marea.reservation"),
    Table("payments", "payments", "marea.payment"),
    Table("shipping", "fulfilments", "marea.fulfilment"),
    Table("shipping", "returns", "marea.returns"),
)


def of(tables: Sequence[Table]) -> pytest.MarkDecorator:
    names = [f"{table.service}.{table.attribute}" for table in tables]
    return pytest.mark.parametrize(("service", "table"), [(table.service, table) for table in tables], ids=names)


every_table = of(TABLES)
every_table_that_waits = of([table for table in TABLES if not table.begins])


def events_of(table: Table, key: str) -> list[Event]:
    return [event._replace(key=key, id=str(uuid4())) for event in life(table.topic)]


def begun(subject: Subject[Any], table: Table, key: str) -> Event:
    """One of which the first thing has happened."""
    first = events_of(table, key)[0]
    with subject.database.transaction() as store:
        if table.topic == "marea.order":
            store.place(first, None, {})
        elif table.topic == "marea.exchange":
            store.add_exchange(first, Due(key, "exchange_by", START + timedelta(days=1)), None)
        else:
            aggregates = getattr(store, table.attribute)
            aggregates.save([Changed(aggregates.lock_or_add([key])[key], [first], {})])
    return first


def locked(database: Database[Any], table: Table, keys: Sequence[str]) -> dict[str, Kept[Any]]:
    with database.transaction() as store:
        return cast("Aggregates[Any, Any]", getattr(store, table.attribute)).lock(keys)


@every_table
def test_an_aggregate_is_as_its_last_event_tells_it_with_the_steps_by_which_it_came_there(
    subject: Subject[Any], table: Table
) -> None:
    key = str(uuid4())
    first = begun(subject, table, key)
    more = events_of(table, key)[1:]
    with subject.database.transaction() as store:
        aggregates = getattr(store, table.attribute)
        aggregates.save([Changed(aggregates.lock([key])[key], more, {"heard": {"order": 3}})])
    kept = locked(subject.database, table, [key])[key]
    last = more[-1]
    assert (kept.version, kept.updated_at, kept.notes) == (last.version, last.occurred_at, {"heard": {"order": 3}})
    assert jsonable(kept.state) == jsonable(last.data)
    assert [step["type"] for step in kept.steps] == [event.type for event in (first, *more)]
    assert subject.published(key) == [(event.type, event.version) for event in (first, *more)]


@every_table
def test_only_those_that_exist_are_locked(subject: Subject[Any], table: Table) -> None:
    one, two = sorted((str(uuid4()), str(uuid4())))
    begun(subject, table, two)
    begun(subject, table, one)
    found = locked(subject.database, table, [two, str(uuid4()), one])
    assert list(found) == [one, two]
    assert {kept.version for kept in found.values()} == {1}


@every_table
def test_notes_are_kept_without_an_event_and_change_nothing_that_is_published(subject: Subject[Any], table: Table) -> None:
    key = str(uuid4())
    first = begun(subject, table, key)
    before = locked(subject.database, table, [key])[key]
    with subject.database.transaction() as store:
        aggregates = getattr(store, table.attribute)
        aggregates.save([Changed(aggregates.lock([key])[key], [], {"one": {"at": 1}})])
    after = locked(subject.database, table, [key])[key]
    assert after == before._replace(notes={"one": {"at": 1}})
    assert subject.published(key) == [(first.type, 1)]


@every_table
def test_the_answer_of_a_command_is_kept_with_what_it_did_and_a_second_time_nothing_is_done(
    subject: Subject[Any], table: Table
) -> None:
    key, kept = str(uuid4()), answer(str(uuid4()))
    begun(subject, table, key)
    second, third, *_ = [*events_of(table, key)[1:], *events_of(table, key)[1:]]
    third = third._replace(version=3)

    def save(event: Event) -> None:
        with subject.database.transaction() as store:
            aggregates = getattr(store, table.attribute)
            aggregates.save([Changed(aggregates.lock([key])[key], [event], {})], kept)

    save(second)
    with pytest.raises(AlreadyAnswered):
        save(third)
    assert subject.database.answer(kept.command) == kept
    assert locked(subject.database, table, [key])[key].version == 2


@every_table
def test_nothing_to_save_is_nothing_done(subject: Subject[Any], table: Table) -> None:
    kept = answer(str(uuid4()))
    with subject.database.transaction() as store:
        getattr(store, table.attribute).save([], kept)
    assert subject.database.answer(kept.command) is None


@every_table_that_waits
def test_one_that_is_not_there_yet_keeps_notes_until_something_happens_to_it(subject: Subject[Any], table: Table) -> None:
    key = str(uuid4())
    with subject.database.transaction() as store:
        aggregates = getattr(store, table.attribute)
        new = aggregates.lock_or_add([key])[key]
        assert (new.version, new.state, new.notes) == (0, None, {})
        aggregates.save([Changed(new, [], {"known": True})])
    with subject.database.transaction() as store:
        again = getattr(store, table.attribute).lock_or_add([key])[key]
    assert (again.version, again.state, again.notes) == (0, None, {"known": True})
    assert subject.published(key) == []


@pytest.mark.parametrize("subject", ["postgres"], indirect=True)
@every_table
def test_what_verify_compares_is_what_the_service_shows(subject: Subject[Any], table: Table, layout: Layout) -> None:
    key = str(uuid4())
    begun(subject, table, key)
    with subject.database.transaction() as store:
        kept = getattr(store, table.attribute).lock([key])[key]
        seen = store.shown(kept) if table.topic == "marea.order" else shown(kept)
    query = manifest(table.service).states[table.topic]
    with admin(layout.database_url("admin", DATABASE)) as cursor:
        cursor.execute(f"SET search_path = {table.service}")
        cursor.execute(f"SELECT state FROM ({query}) AS each WHERE id = %s", (key,))
        assert cursor.fetchall() == [(jsonable(seen),)]


@pytest.mark.parametrize("subject", ["postgres"], indirect=True)
@every_table_that_waits
def test_one_of_which_nothing_has_happened_yet_is_nobodys_to_compare(
    subject: Subject[Any], table: Table, layout: Layout
) -> None:
    key = str(uuid4())
    with subject.database.transaction() as store:
        getattr(store, table.attribute).lock_or_add([key])
    with admin(layout.database_url("admin", DATABASE)) as cursor:
        cursor.execute(f"SET search_path = {table.service}")
        cursor.execute(f"SELECT id FROM ({manifest(table.service).states[table.topic]}) AS each WHERE id = %s", (key,))
        assert cursor.fetchall() == []
