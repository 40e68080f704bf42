"""What every reaction keeps to, in PostgreSQL; a new one is found by itself.

In a database that has the services' schemas and no relay: nothing of what happens here is ever published.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from api.orders.store import Orders
from api.services import reactions
from kernel.deadlines import Due
from kernel.outbox import Outbox
from kernel.postgres import connect
from local.layout import Layout
from ops.databases import admin
from ops.outboxes import make_partitions
from schemas import exchange, order
from schemas.event import Event
from schemas.exchange import ExchangeEvent
from schemas.order import OrderPlaced
from streams.engine import feed as engine
from streams.engine.batch import Place
from streams.engine.consumer import Reaction, consumer_id
from streams.engine.feed import Feed
from streams.engine.rehearsal import Rehearsal
from streams.engine.stores import LaneId, Request
from streams.engine.stores.postgres import PostgresStore
from tests.contract.conftest import DATABASE
from tests.events import CODEC, EXCHANGE, NEW_ORDER, ORDER, batch, batch_of, life, newer, record

every_reaction = pytest.mark.parametrize("reaction", reactions().values(), ids=lambda reaction: reaction.name)

#: What the engine and the migrations keep beside the service's own tables.
ENGINE_TABLES = ("position", "version", "parked", "dropped", "request")


class Service:
    """A reaction under a name of its own, beside the live one, on events of aggregates of its own."""

    def __init__(self, layout: Layout, reaction: Reaction) -> None:
        self.reaction = replace(reaction, name=f"contract-{uuid4()}")
        self.url = layout.database_url(reaction.service, DATABASE)
        self.order_id = str(uuid4())
        self._layout = layout
        self._admin = psycopg2.connect(layout.database_url("admin", DATABASE))
        self._admin.autocommit = True
        self._mine = uuid4().hex[:12]
        self._exchange_id, self._new_order_id = str(uuid4()), str(uuid4())

    def life(self) -> list[Event]:
        """A life in the reaction's topic. Orders that it is about are placed, the second in exchange for units of the first."""
        if self.reaction.service == "orders":
            self._place_both()
        return self.of(self.reaction.topic)

    def of(self, topic: str) -> list[Event]:
        """A life in a topic, of this test's own aggregates."""
        return [event._replace(id=str(uuid4()), key=self._own(event.key), data=self._own(event.data)) for event in life(topic)]

    def placing(self) -> Connection:
        """Places the order in a transaction that is still open."""
        connection = connect(self._layout.database_url("orders", DATABASE), "contract", 5)
        orders = Orders(connection.cursor(), Outbox("orders", (order.TOPIC,), lambda: CODEC))
        orders.place(cast("OrderPlaced", self.of("marea.order")[0]), None, {})
        return connection

    def feed(self) -> Feed:
        """As a new worker has it."""
        store = PostgresStore(self.url, [self.reaction])
        store.begin({str(self.reaction.topic): {0: 0}})
        feed = Feed("test", [self.reaction], store, CODEC)
        feed.assign([Place(self.reaction.topic, 0)])
        return feed

    def handle(self, events: Sequence[Event], start: int = 0) -> None:
        """As a new worker would."""
        self.feed().handle([batch(events, self.reaction.topic, start)])

    def state(self) -> dict[str, list[Any]]:
        """All rows of the service's own tables that speak of this test, and the events they published."""
        query = "SELECT row_to_json(t)::text FROM {table} AS t WHERE t::text LIKE ANY(%s) ORDER BY 1"
        mine = [f"%{each}%" for each in (self._mine, self.order_id, self._new_order_id, self._exchange_id)]
        return {
            table: self._query(query.format(table=f"{self.reaction.service}.{table}"), mine) for table in self._tables()
        }

    def parked(self) -> list[str]:
        return [reason for (reason,) in self._engine("parked", "reason")]

    def position(self) -> int:
        [(position,)] = self._engine("position", "next_offset")
        return int(position)

    def forget(self) -> None:
        """As when the engine's tables are lost: the service's own are all that is known."""
        with self._admin.cursor() as cursor:
            for table in ENGINE_TABLES:
                cursor.execute(f"DELETE FROM {self.reaction.service}.{table} WHERE consumer = %s", (self.reaction.name,))

    def close(self) -> None:
        self._admin.close()

    def _place_both(self) -> None:
        with closing(self.placing()) as connection, connection, connection.cursor() as cursor:
            orders = Orders(cursor, Outbox("orders", (order.TOPIC, exchange.TOPIC), lambda: CODEC))
            placed = self.of("marea.order")[0]
            data = placed.data | {"order_id": self._new_order_id}
            orders.place(cast("OrderPlaced", placed._replace(id=str(uuid4()), key=self._new_order_id, data=data)), None, {})
            requested = self.of("marea.exchange")[0]
            by = Due(requested.key, "exchange_by", datetime.now(UTC) + timedelta(days=1))
            orders.add_exchange(cast("ExchangeEvent", requested), by, None)

    def _own(self, value: Any) -> Any:
        """The value with this test's own ids in place of those that all share."""
        names = {
            ORDER: self.order_id,
            NEW_ORDER: self._new_order_id,
            EXCHANGE: self._exchange_id,
            "milk": f"sku-{self._mine}",
            "7": self._mine,
        }
        if isinstance(value, dict):
            return {name: self._exchanged(name, self._own(each)) for name, each in value.items()}
        if isinstance(value, list):
            return [self._own(each) for each in value]
        return names.get(value, value) if isinstance(value, str) else value

    def _exchanged(self, name: str, value: Any) -> Any:
        """What orders hear is about an exchange wherever it can be."""
        return self._exchange_id if name == "exchange_id" and self.reaction.service == "orders" else value

    def _tables(self) -> list[str]:
        query = """SELECT table_name FROM information_schema.tables WHERE table_schema = %s
                   AND table_type = 'BASE TABLE' AND table_name !~ '^(outbox_|_?yoyo|.*yoyo)'"""
        found = [name for (name,) in self._query(query, self.reaction.service)]
        return [name for name in found if name not in ENGINE_TABLES]

    def _engine(self, table: str, column: str) -> list[Any]:
        query = f"SELECT {column} FROM {self.reaction.service}.{table} WHERE consumer = %s ORDER BY 1"
        return self._query(query, self.reaction.name)

    def _query(self, query: str, *parameters: Any) -> list[Any]:
        with self._admin.cursor() as cursor:
            cursor.execute(query, parameters)
            rows: list[Any] = cursor.fetchall()
            return rows


@pytest.fixture
def service(layout: Layout, reaction: Reaction) -> Iterator[Service]:
    with closing(Service(layout, reaction)) as service:
        yield service


@every_reaction
def test_a_rehearsal_tells_what_a_retry_would_do_and_leaves_nothing(service: Service, reaction: Reaction) -> None:
    events = service.life()
    records = [newer(0, events[0], reaction.topic), *(record(n, event) for n, event in enumerate(events[1:], 1))]
    service.feed().handle([batch_of(records, reaction.topic)])
    before = (service.state(), service.parked(), service.position())
    store = PostgresStore(service.url, [service.reaction])
    request = Request("1", LaneId(consumer_id(service.reaction), 0), "retry", events[0].key)
    with store.rehearsing():
        rehearsal = Rehearsal(store, request, store.apply)
        feed = Feed("rehearsal", [service.reaction], rehearsal, CODEC)
        feed.assign([Place(reaction.topic, 0)])
        # By now this code knows what the first one is.
        feed.carry_out(lambda _, offsets: [record(n, events[n]) for n in offsets])
    assert [offset for write in rehearsal.writes for offset in write.unparked] == list(range(len(events)))
    assert (service.state(), service.parked(), service.position()) == before


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
def test_decisions_are_made_once_whatever_the_engine_remembers(service: Service, reaction: Reaction) -> None:
    events = service.life()
    service.handle(events)
    once = service.state()
    service.forget()
    for offset, event in enumerate(events):
        service.handle([event], start=offset)
        assert service.state() == once
    assert (service.parked(), service.position()) == ([], len(events))


@every_reaction
def test_an_event_of_an_unknown_type_is_parked_and_changes_nothing(service: Service, reaction: Reaction) -> None:
    first = service.life()[0]
    before = service.state()
    service.feed().handle([batch_of([newer(0, first, reaction.topic)], reaction.topic)])
    assert service.state() == before
    assert (service.parked(), service.position()) == (["the running code does not know SomethingNew"], 1)


@every_reaction
def test_a_gap_parks(service: Service, reaction: Reaction) -> None:
    first, *_, last = service.life()
    service.handle([first, last._replace(version=last.version + 1)])
    [reason] = service.parked()
    assert "gap" in reason
    assert service.position() == 2


@every_reaction
def test_a_reaction_that_raises_leaves_nothing_but_the_parked_event(service: Service, reaction: Reaction) -> None:
    life = service.life()
    first = next(number for number, event in enumerate(life) if event.type in reaction.types)
    before = service.state()

    def handle(cursor: Any, events: Sequence[Event]) -> None:
        reaction.handle(cursor, events)
        raise KeyError("poison")

    service.reaction = replace(service.reaction, handle=handle)
    service.handle(life[: first + 1])
    assert service.state() == before
    assert service.parked() == ["KeyError: 'poison'"]


settling = pytest.mark.parametrize("reaction", [reactions()["orders.reservations"]], ids=["orders.reservations"])


@settling
def test_an_outcome_waits_for_an_order_that_can_not_be_seen_yet(
    service: Service, reaction: Reaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL hands a commit to the relay before others can see it."""
    monkeypatch.setattr(engine, "FIRST_PAUSE_S", 0.0)
    told = [batch(service.of(reaction.topic)[:1], reaction.topic)]
    feed = service.feed()
    with closing(service.placing()) as connection:
        feed.handle(told)
        assert (service.parked(), service.position(), feed.has_detached) == ([], 0, True)
        connection.commit()
    feed.replay(told)
    assert (service.parked(), service.position()) == ([], 1)
    assert is_reserved(service)


@settling
def test_an_outcome_of_an_order_that_never_comes_is_parked_alone(
    service: Service, reaction: Reaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(engine, "PATIENCE_S", -1.0)
    known = service.life()[:1]
    lost = [event._replace(key=str(uuid4())) for event in life("marea.reservation")[:1]]
    told = [batch([*lost, *known], reaction.topic)]
    feed = service.feed()
    feed.handle(told)
    feed.replay(told)
    assert service.parked() == [f"NotYet: there is no {lost[0].key}"]
    assert is_reserved(service)


def is_reserved(service: Service) -> bool:
    [row] = [row for (row,) in service.state()["orders"] if json.loads(row)["id"] == service.order_id]
    return bool(json.loads(row)["state"]["status"] == "reserved")


@settling
def test_a_transaction_that_takes_too_long_is_made_smaller_and_its_event_alone_is_parked_at_last(
    service: Service, reaction: Reaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(engine, "PATIENCE_S", -1.0)
    sizes: list[int] = []

    def handle(cursor: Any, events: Sequence[Event]) -> None:
        sizes.append(len(events))
        cursor.execute("SET LOCAL statement_timeout = 20")
        if any(event.key.startswith("slow") for event in events):
            cursor.execute("SELECT pg_sleep(10)")

    service.reaction = replace(service.reaction, handle=handle)
    [made, *_] = life("marea.reservation")
    told = [batch([made._replace(key=key) for key in ("a", "b", "slow", "c")], reaction.topic)]
    feed = service.feed()
    feed.handle(told)
    assert (sizes, service.position()) == ([4, 2, 2, 1], 2)
    feed.replay(told)
    assert (len(service.parked()), service.position()) == (1, 4)


@settling
def test_an_outbox_without_a_partition_for_today_is_a_sink_that_is_down_and_nothing_is_parked(
    service: Service, reaction: Reaction, layout: Layout
) -> None:
    events = service.life()[:1]
    with admin(layout.database_url("admin", DATABASE)) as cursor:
        today = f"orders.outbox_{datetime.now(UTC):%Y%m%d}"
        cursor.execute(f"ALTER TABLE orders.outbox DETACH PARTITION {today}")
        try:
            with pytest.raises(psycopg2.Error, match="no partition"):
                service.handle(events)
        finally:
            cursor.execute(f"DROP TABLE {today}")
            make_partitions(cursor, "orders", datetime.now(UTC))
    service.handle(events)
    assert (service.parked(), service.position()) == ([], 1)
