"""The contract of the stores: one set of tests for memory, Redis, PostgreSQL and ClickHouse."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from uuid import uuid4

import psycopg2
import pytest

from api.services import tables
from kernel import settings
from local.stack import Stack
from schemas.event import Event, Topic
from streams.engine.consumer import Reaction, Row, View
from streams.engine.stores import Parked, Progress, Store, Wanted, Write
from streams.engine.stores.clickhouse import ClickHouseStore, create_generation, generation_table
from streams.engine.stores.clickhouse import connect as connect_clickhouse
from streams.engine.stores.postgres import PostgresStore
from streams.engine.stores.redis import RedisStore, keys_of
from streams.engine.stores.redis import connect as connect_redis
from tests.events import PRODUCT, START, life
from tests.memory_store import MemoryStore

GENERATION = 901


class Subject:
    """One kind of store: `open` gives another worker's store object, `held` the effects that were kept."""

    keeps_versions = True

    def open(self) -> Store:
        raise NotImplementedError

    def held(self) -> set[str]:
        raise NotImplementedError

    def close(self) -> None:
        """Removes what the test made."""


class Memory(Subject):
    def __init__(self) -> None:
        self._store = MemoryStore()

    def open(self) -> Store:
        return self._store

    def held(self) -> set[str]:
        return {key for rows in self._store.rows.values() for key in rows}


class InRedis(Subject):
    def __init__(self) -> None:
        self._client = connect_redis(settings.redis_url())
        self._view = View(f"contract-{uuid4()}", Topic(""), lambda row, event: row, lambda states: iter(()), rank="n")

    def open(self) -> Store:
        return RedisStore(self._client, self._view, GENERATION)

    def held(self) -> set[str]:
        keys = [keys_of(self._view.name, GENERATION, partition) for partition in range(4)]
        ranked: set[bytes] = {m for key in keys for m in self._client.zrange(key.rank, 0, -1)}  # type: ignore[misc]
        rows: set[bytes] = {field for key in keys for field in self._client.hkeys(key.rows)}  # type: ignore[misc]
        assert ranked == rows, "the rank has the rows, no more and no fewer"
        return {row.decode() for row in rows}

    def close(self) -> None:
        for partition in range(4):
            self._client.delete(*keys_of(self._view.name, GENERATION, partition))


class InPostgres(Subject):
    def __init__(self) -> None:
        self._admin = psycopg2.connect(settings.setting("ADMIN_DATABASE_URL"))
        self._admin.autocommit = True
        self._execute("DROP TABLE IF EXISTS orders.contract")
        self._execute("CREATE TABLE orders.contract (name text PRIMARY KEY)")
        self._execute("GRANT SELECT, INSERT ON orders.contract TO orders")
        self._reaction = Reaction(f"contract-{uuid4()}", "orders", Topic(""), self._handle, lambda states: iter(()), "")

    def open(self) -> Store:
        return PostgresStore(settings.database_url("orders"), self._reaction)

    def held(self) -> set[str]:
        with self._admin.cursor() as cursor:
            cursor.execute("SELECT name FROM orders.contract")
            return {name for (name,) in cursor.fetchall()}

    def close(self) -> None:
        self._execute("DROP TABLE orders.contract")
        for table in ("position", "version", "parked"):
            self._execute(f"DELETE FROM orders.{table} WHERE consumer = %s", (self._reaction.name,))
        self._admin.close()

    def _execute(self, statement: str, parameters: tuple[object, ...] = ()) -> None:
        with self._admin.cursor() as cursor:
            cursor.execute(statement, parameters)

    @staticmethod
    def _handle(cursor: psycopg2.extensions.cursor, events: Sequence[Event]) -> None:
        for event in events:
            cursor.execute("INSERT INTO contract VALUES (%s)", (event.id,))


class InClickHouse(Subject):
    keeps_versions = False

    def __init__(self) -> None:
        self._client = connect_clickhouse(settings.clickhouse_url())
        self._table = tables()["products"]
        self._name = generation_table("products", GENERATION)
        self.close()
        create_generation(self._client, "products", GENERATION)

    def open(self) -> Store:
        return ClickHouseStore(settings.clickhouse_url(), self._table, GENERATION)

    def held(self) -> set[str]:
        rows = self._client.query("SELECT sku FROM {table:Identifier} FINAL", {"table": self._name}).result_rows
        return {sku for (sku,) in rows}

    def close(self) -> None:
        self._client.command("DROP TABLE IF EXISTS {table:Identifier} SYNC", {"table": self._name})
        ClickHouseStore(settings.clickhouse_url(), self._table).progress([0])  # makes the table of parked events
        self._client.command("DELETE FROM parked WHERE generation = {table:String}", {"table": self._name})


REAL: dict[str, Callable[[], Subject]] = {"redis": InRedis, "postgres": InPostgres, "clickhouse": InClickHouse}


@pytest.fixture(params=["memory", *REAL])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "memory":
        yield Memory()
        return
    stack: Stack = request.getfixturevalue("stack")
    assert stack
    with closing(REAL[request.param]()) as real:
        yield real


def write(
    expected: int, names: Sequence[str], partition: int = 0, parked: Sequence[Parked] = (), aggregate: str = "milk"
) -> Write:
    """A write whose effects, in whichever store, are `names`; one offset each."""
    [event, *_] = life("marea.product")
    return Write(
        partition,
        expected,
        expected + len(names) + len(parked),
        versions={aggregate: expected + len(names)},
        parked=list(parked),
        rows={name: {"n": number} for number, name in enumerate(names)},
        records=[(expected + number, product(name)) for number, name in enumerate(names)],
        events=[event._replace(id=name) for name in names],
    )


def product(sku: str) -> Row:
    return PRODUCT | {"sku": sku, "version": 1, "archived": False, "updated_at": START}


def test_a_partition_that_was_never_read_begins_at_nothing(subject: Subject) -> None:
    assert {p: tuple(at) for p, at in subject.open().progress([0, 3]).items()} == {
        0: (0, frozenset()),
        3: (0, frozenset()),
    }


def test_effects_and_position_are_there_together_for_the_next_worker(subject: Subject) -> None:
    store = subject.open()
    store.progress([0])
    assert store.apply([write(0, ["a", "b"])]) == set()
    assert store.apply([write(2, ["c"])]) == set()
    assert subject.held() == {"a", "b", "c"}
    assert subject.open().progress([0])[0].position == 3


def test_a_write_from_a_stale_position_is_refused_and_leaves_nothing(subject: Subject) -> None:
    owner, zombie = subject.open(), subject.open()
    owner.progress([0])
    zombie.progress([0])
    owner.apply([write(0, ["a", "b"])])
    assert zombie.apply([write(0, ["z"], parked=[Parked(1, "k", "why")], aggregate="other")]) == {0}
    assert subject.held() == {"a", "b"}
    now = subject.open().progress([0])[0]
    assert (now.position, now.waiting) == (2, frozenset())
    store = subject.open()
    store.progress([0])
    assert store.read({0: Wanted(["other"], [])})[0].versions == {}


def test_of_several_partitions_only_the_stale_one_is_refused(subject: Subject) -> None:
    owner, zombie = subject.open(), subject.open()
    owner.progress([0, 1])
    zombie.progress([0, 1])
    owner.apply([write(0, ["a"], partition=1)])
    assert zombie.apply([write(0, ["b"], partition=0), write(0, ["z"], partition=1)]) == {1}
    assert subject.held() == {"a", "b"}
    assert {p: at.position for p, at in subject.open().progress([0, 1]).items()} == {0: 1, 1: 1}


def test_versions_are_remembered_for_the_next_worker(subject: Subject) -> None:
    if not subject.keeps_versions:
        store = subject.open()
        store.progress([0])
        assert store.read({0: Wanted(["milk"], [])})[0].versions == {}
        return
    store = subject.open()
    store.progress([0])
    store.apply([write(0, ["a", "b"])])
    store.apply([write(2, ["c"])])
    reader = subject.open()
    reader.progress([0])
    assert reader.read({0: Wanted(["milk", "unheard"], [])})[0].versions == {"milk": 3}


def test_aggregates_with_parked_events_wait_for_the_next_worker_too(subject: Subject) -> None:
    store = subject.open()
    store.progress([0, 1])
    store.apply([write(0, ["a"], parked=[Parked(1, "bad", "because"), Parked(2, "worse", "it's ü")])])
    store.apply([write(3, ["b"])])
    now = subject.open().progress([0, 1])
    assert (now[0].position, now[0].waiting) == (4, frozenset({"bad", "worse"}))
    assert now[1].waiting == frozenset()


def test_a_batch_of_many_thousand_effects_is_kept_whole(subject: Subject) -> None:
    names = [f"name-{number}" for number in range(12_345)]
    store = subject.open()
    store.progress([0])
    store.apply([write(0, names)])
    assert subject.held() == set(names)


def test_a_write_that_the_store_can_not_take_leaves_nothing(subject: Subject) -> None:
    store = subject.open()
    store.progress([0])
    bad = write(0, ["a", "b"])
    bad.rows["c"] = {"n": 2**80}
    bad.records.append((2, product("c") | {"price_minor": "much"}))
    bad.events.append(bad.events[0]._replace(id=None))  # type: ignore[arg-type]  # what the database refuses
    # In ClickHouse these are kept first; they must not stand for the rows before them.
    bad.parked.append(Parked(2, "bad", "because"))
    with pytest.raises(Exception) as raised:  # noqa: PT011  # each store has its own
        store.apply([bad])
    assert not isinstance(raised.value, store.unavailable), "an error of the data, or it would be tried for ever"
    assert subject.held() == set()
    assert subject.open().progress([0])[0] == Progress(0, frozenset())
