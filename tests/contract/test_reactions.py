"""What every reaction keeps to, in its service's own PostgreSQL; a new one is found by itself."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg2
import pytest

from ops.stack.lifecycle import Stack
from schemas.event import Event
from streams import settings
from streams.consumer import Reaction, reactions
from streams.runtime import Runtime
from streams.stores.postgres import PostgresStore
from tests.events import CODEC, batch, life

every_reaction = pytest.mark.parametrize("reaction", reactions().values(), ids=lambda reaction: reaction.name)

#: What the engine and the migrations keep beside the service's own tables.
ENGINE_TABLES = ("position", "version", "parked")


class Service:
    """A reaction under a name of its own, beside the live one, on events of aggregates of its own."""

    def __init__(self, reaction: Reaction) -> None:
        self.reaction = replace(reaction, name=f"contract-{uuid4()}")
        self._admin = psycopg2.connect(settings.setting("ADMIN_DATABASE_URL"))
        self._admin.autocommit = True
        self._mine = uuid4().hex[:12]

    def life(self) -> list[Event]:
        """A life of a new aggregate in the reaction's topic."""
        key = str(uuid4()) if "order_id" in life(self.reaction.topic)[0].data else f"sku-{self._mine}"
        return [
            event._replace(key=key, data=self._renamed(event.data, key)) for event in life(self.reaction.topic)
        ]

    def handle(self, events: Sequence[Event], start: int = 0) -> None:
        """As a new worker would."""
        store = PostgresStore(settings.database_url(self.reaction.service), self.reaction)
        runtime = Runtime(self.reaction, store, CODEC)
        runtime.assign([0])
        assert runtime.handle([batch(events, start)]) == {}

    def state(self) -> dict[str, list[Any]]:
        """All rows of the service's own tables that speak of this test, and the events they published."""
        query = "SELECT row_to_json(t)::text FROM {table} AS t WHERE t::text LIKE %s ORDER BY 1"
        return {
            table: self._query(query.format(table=f"{self.reaction.service}.{table}"), f"%{self._mine}%")
            for table in self._tables()
        }

    def parked(self) -> list[str]:
        return [reason for (reason,) in self._engine("parked", "reason")]

    def position(self) -> int:
        [(position,)] = self._engine("position", "next_offset")
        return int(position)

    def close(self) -> None:
        """Takes back what never happened: no product or order of the test's is in any topic."""
        with self._admin.cursor() as cursor:
            for table in set(self._tables()) - {"outbox"}:
                delete = f"DELETE FROM {self.reaction.service}.{table} AS t WHERE t::text LIKE %s"
                cursor.execute(delete, (f"%{self._mine}%",))
            for table in ENGINE_TABLES:
                cursor.execute(
                    f"DELETE FROM {self.reaction.service}.{table} WHERE consumer = %s", (self.reaction.name,)
                )
        self._admin.close()

    def _renamed(self, data: dict[str, Any], key: str) -> dict[str, Any]:
        renamed = {name: key for name in ("order_id", "sku") if name in data}
        lines = [line | {"sku": f"sku-{self._mine}"} for line in data.get("lines", [])]
        return data | renamed | ({"lines": lines} if lines else {})

    def _tables(self) -> list[str]:
        query = """SELECT table_name FROM information_schema.tables WHERE table_schema = %s
                   AND table_type = 'BASE TABLE' AND table_name !~ '^(outbox_|_?yoyo|.*yoyo)'"""
        found = [name for (name,) in self._query(query, self.reaction.service)]
        return [name for name in found if name not in ENGINE_TABLES and name != "contract"]

    def _engine(self, table: str, column: str) -> list[Any]:
        query = f"SELECT {column} FROM {self.reaction.service}.{table} WHERE consumer = %s ORDER BY 1"
        return self._query(query, self.reaction.name)

    def _query(self, query: str, *parameters: Any) -> list[Any]:
        with self._admin.cursor() as cursor:
            cursor.execute(query, parameters)
            rows: list[Any] = cursor.fetchall()
            return rows


@pytest.fixture
def service(stack: Stack, reaction: Reaction) -> Iterator[Service]:
    assert stack
    with closing(Service(reaction)) as service:
        yield service


@every_reaction
def test_duplicates_change_nothing_and_publish_nothing(service: Service, reaction: Reaction) -> None:
    events = service.life()
    service.handle(events)
    once = service.state()
    service.handle([*events, *events], start=len(events))
    assert service.state() == once
    assert service.parked() == []
    assert service.position() == 3 * len(events)


@every_reaction
def test_an_unknown_event_type_changes_nothing(service: Service, reaction: Reaction) -> None:
    before = service.state()
    first = service.life()[0]
    store = PostgresStore(settings.database_url(service.reaction.service), service.reaction)
    runtime = Runtime(service.reaction, store, CODEC)
    runtime.assign([0])
    told = batch([first])
    [record] = told.records
    headers = [(name, b"SomethingNew" if name == "type" else value) for name, value in record.headers]
    runtime.handle([told._replace(records=[record._replace(headers=headers)])])
    assert service.state() == before
    assert (service.parked(), service.position()) == ([], 1)


@every_reaction
def test_a_gap_parks(service: Service, reaction: Reaction) -> None:
    first, *_, last = service.life()
    service.handle([first, last._replace(version=last.version + 1)])
    [reason] = service.parked()
    assert "gap" in reason
    assert service.position() == 2


@every_reaction
def test_a_reaction_that_raises_leaves_nothing_but_the_parked_event(service: Service, reaction: Reaction) -> None:
    before = service.state()

    def handle(cursor: Any, events: Sequence[Event]) -> None:
        reaction.handle(cursor, events)
        raise KeyError("poison")

    service.reaction = replace(service.reaction, handle=handle)
    service.handle(service.life()[:1])
    assert service.state() == before
    assert service.parked() == ["KeyError: 'poison'"]
