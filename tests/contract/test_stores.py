"""The contract of the stores: one set of tests for memory, Redis, PostgreSQL and ClickHouse."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import psycopg2
import pytest

from api.services import tables
from kernel import settings
from kernel.code import fingerprint
from local.stack import Stack
from schemas.event import Event, Topic
from streams.engine.consumer import Reaction, Row, View, consumer_id
from streams.engine.stores import Cause, LaneId, Parked, Progress, Refused, Request, Store, Wanted, Write
from streams.engine.stores.clickhouse import ClickHouseStore, create_generation, generation_table, prepare
from streams.engine.stores.clickhouse import connect as connect_clickhouse
from streams.engine.stores.postgres import PostgresStore
from streams.engine.stores.redis import RedisStore, dropped_key, fold_key, keys_of, request_key
from streams.engine.stores.redis import connect as connect_redis
from tests.events import PRODUCT, START, life
from tests.memory_store import MemoryStore

GENERATION = 901


class Subject:
    """One kind of store: `open` gives another worker's store object, `held` the effects that were kept."""

    keeps_versions = True
    #: The consumer's name.
    name = ""

    def open(self) -> Store:
        raise NotImplementedError

    def held(self) -> set[str]:
        raise NotImplementedError

    def entries(self) -> set[str]:
        """Of a view's index."""
        return set()

    def close(self) -> None:
        """Removes what the test made."""


class Memory(Subject):
    name = "view.memory"

    def __init__(self) -> None:
        self._store = MemoryStore()

    def open(self) -> Store:
        return self._store

    def held(self) -> set[str]:
        return {key for rows in self._store.rows.values() for key in rows}

    def entries(self) -> set[str]:
        return set().union(*self._store.entries.values())


class InRedis(Subject):
    def __init__(self) -> None:
        self._client = connect_redis(settings.redis_url())
        self._view = View(f"contract-{uuid4()}", Topic(""), lambda row, event: row, lambda states: iter(()))
        self.name = consumer_id(self._view)

    def open(self) -> Store:
        return RedisStore(self._client, [self._view], GENERATION)

    def held(self) -> set[str]:
        keys = [keys_of(self._view.name, GENERATION, partition) for partition in range(4)]
        rows: set[bytes] = {field for key in keys for field in self._client.hkeys(key.rows)}  # type: ignore[misc]
        return {row.decode() for row in rows}

    def entries(self) -> set[str]:
        keys = [keys_of(self._view.name, GENERATION, partition) for partition in range(4)]
        entries: set[bytes] = {m for key in keys for m in self._client.zrange(key.entries, 0, -1)}  # type: ignore[misc]
        return {entry.decode() for entry in entries}

    def close(self) -> None:
        for partition in range(4):
            self._client.delete(*keys_of(self._view.name, GENERATION, partition))
            self._client.delete(dropped_key(self._view.name, partition), request_key(self._view.name, partition))
        self._client.delete(fold_key(self._view.name))


class InPostgres(Subject):
    def __init__(self) -> None:
        self._admin = psycopg2.connect(settings.setting("ADMIN_DATABASE_URL"))
        self._admin.autocommit = True
        self._execute("DROP TABLE IF EXISTS orders.contract")
        self._execute("CREATE TABLE orders.contract (name text PRIMARY KEY)")
        self._execute("GRANT SELECT, INSERT ON orders.contract TO orders")
        self._reaction = Reaction(
            f"contract-{uuid4()}", "orders", Topic(""), frozenset(), self._handle, lambda states: iter(()), ""
        )
        self.name = consumer_id(self._reaction)

    def open(self) -> Store:
        return PostgresStore(settings.database_url("orders"), [self._reaction])

    def held(self) -> set[str]:
        with self._admin.cursor() as cursor:
            cursor.execute("SELECT name FROM orders.contract")
            return {name for (name,) in cursor.fetchall()}

    def close(self) -> None:
        self._execute("DROP TABLE orders.contract")
        for table in ("position", "version", "parked", "dropped", "request"):
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
        prepare(self._client)
        self._table = tables()["products"]
        self.name = consumer_id(self._table)
        self._generation = generation_table("products", GENERATION)
        self.close()
        create_generation(self._client, self._table, GENERATION)

    def open(self) -> Store:
        return ClickHouseStore(settings.clickhouse_url(), [self._table], GENERATION)

    def held(self) -> set[str]:
        query = "SELECT sku FROM {table:Identifier} FINAL"
        return {sku for (sku,) in self._client.query(query, {"table": self._generation}).result_rows}

    def close(self) -> None:
        self._client.command("DROP TABLE IF EXISTS {table:Identifier} SYNC", {"table": self._generation})
        for table in ("parked", "position"):
            self._client.command(
                f"DELETE FROM {table} WHERE generation = {{table:String}}", {"table": self._generation}
            )
        self._client.command("DELETE FROM generation WHERE number = {number:UInt32}", {"number": GENERATION})
        for table in ("dropped", "request"):
            self._client.command(f"DELETE FROM {table} WHERE consumer = {{name:String}}", {"name": self.name})


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


class Worker:
    """A store object as a worker has it, with its progress read, and the names of its lanes."""

    def __init__(self, subject: Subject) -> None:
        self.store = subject.open()
        self.subject = subject
        self.at = self.store.progress([self.lane(partition) for partition in range(4)])

    def lane(self, partition: int = 0) -> LaneId:
        return LaneId(self.subject.name, partition)

    def apply(self, *writes: Write) -> dict[LaneId, type[Exception]]:
        return {lane: type(error) for lane, error in self.store.apply(writes).items()}

    def write(
        self,
        expected: int,
        names: Sequence[str],
        partition: int = 0,
        parked: Sequence[Parked] = (),
        aggregate: str = "milk",
    ) -> Write:
        """A write whose effects, in whichever store, are `names`; one offset each."""
        [event, *_] = life("marea.product")
        return Write(
            self.lane(partition),
            expected,
            expected + len(names) + len(parked),
            leader_epoch=7,
            versions={aggregate: expected + len(names)},
            parked=list(parked),
            rows={name: {"n": number} for number, name in enumerate(names)},
            entries={f"{name}\0ü": True for name in names},
            records=[(expected + number, product(name)) for number, name in enumerate(names)],
            events=[event._replace(id=name) for name in names],
        )


def parked(offset: int, key: str, cause: Cause = "failed", version: int = 1, code: str = "") -> Parked:
    return Parked(offset, key, version, cause, "it's ü", code or fingerprint(), START)


def product(sku: str) -> Row:
    return PRODUCT | {"sku": sku, "version": 1, "archived": False, "updated_at": START}


def test_a_lane_that_was_never_read_begins_at_nothing(subject: Subject) -> None:
    worker = Worker(subject)
    assert worker.at == {worker.lane(partition): Progress() for partition in range(4)}


def test_effects_and_position_are_there_together_for_the_next_worker(subject: Subject) -> None:
    worker = Worker(subject)
    assert worker.apply(worker.write(0, ["a", "b"])) == {}
    assert worker.apply(worker.write(2, ["c"])) == {}
    assert subject.held() == {"a", "b", "c"}
    at = Worker(subject).at[worker.lane()]
    assert (at.position, at.leader_epoch) == (3, 7)


def test_where_a_lane_is_can_be_asked_for_alone(subject: Subject) -> None:
    worker = Worker(subject)
    worker.apply(worker.write(0, ["a"], parked=[parked(1, "bad")]), worker.write(0, ["b"], partition=1))
    lanes = [worker.lane(partition) for partition in range(3)]
    assert worker.store.positions(lanes) == dict(zip(lanes, (2, 1, 0), strict=True))


def test_a_write_from_a_stale_position_is_refused_and_leaves_nothing(subject: Subject) -> None:
    owner, zombie = Worker(subject), Worker(subject)
    owner.apply(owner.write(0, ["a", "b"]))
    stale = zombie.write(0, ["z"], parked=[parked(1, "k")], aggregate="other")
    assert zombie.apply(stale) == {zombie.lane(): Refused}
    assert subject.held() == {"a", "b"}
    at = Worker(subject).at[owner.lane()]
    assert (at.position, at.parked) == (2, {})
    next_one = Worker(subject)
    assert next_one.store.read({owner.lane(): Wanted(["other"], [])})[owner.lane()].versions == {}


def test_of_several_partitions_only_the_stale_one_is_refused(subject: Subject) -> None:
    owner, zombie = Worker(subject), Worker(subject)
    owner.apply(owner.write(0, ["a"], partition=1))
    assert zombie.apply(zombie.write(0, ["b"]), zombie.write(0, ["z"], partition=1)) == {zombie.lane(1): Refused}
    assert subject.held() == {"a", "b"}
    at = Worker(subject).at
    assert [at[owner.lane(partition)].position for partition in (0, 1)] == [1, 1]


def test_a_write_without_effects_moves_the_position(subject: Subject) -> None:
    worker = Worker(subject)
    assert worker.apply(Write(worker.lane(), 0, 5), worker.write(0, ["a"], partition=1)) == {}
    assert Worker(subject).at[worker.lane()].position == 5


def test_versions_are_remembered_for_the_next_worker(subject: Subject) -> None:
    worker = Worker(subject)
    worker.apply(worker.write(0, ["a", "b"]))
    worker.apply(worker.write(2, ["c"]))
    found = Worker(subject).store.read({worker.lane(): Wanted(["milk", "unheard"], [])})[worker.lane()]
    assert found.versions == ({"milk": 3} if subject.keeps_versions else {})


def test_how_much_is_read_and_written_is_said_in_bytes(subject: Subject) -> None:
    """A lane bounds by it what it reads at once and remembers; where no rows are read there is nothing to bound."""
    rows: dict[str, Row | None] = {"a": {"n": 1}, "b": {"n": 22}, "gone": None}
    lane, store = LaneId(subject.name, 0), subject.open()
    store.progress([lane])
    write = Write(lane, 0, 3, rows=rows)
    assert store.apply([write]) == {}
    known = store.read({lane: Wanted((), {"a", "b", "missing"})})[lane]
    sizes = len('{"n":1}') + len('{"n":22}')
    assert (write.rows_bytes, known.rows_bytes) == ((sizes, sizes) if known.rows else (0, 0))
    assert bool(known.rows) == subject.name.startswith("view.")


def test_index_entries_come_and_go_with_position_and_rows(subject: Subject) -> None:
    worker, zombie = Worker(subject), Worker(subject)
    first = worker.write(0, ["a", "b"])
    assert worker.apply(first) == {}
    assert subject.entries() == ({"a\0ü", "b\0ü"} if subject.name.startswith("view.") else set())
    moved = {"a\0ü": False, "a\0z": True, "b\0ü": True, "gone\0ü": False}
    stale = replace(zombie.write(1, ["a"]), entries=moved)
    assert zombie.apply(stale) == {zombie.lane(): Refused}
    assert subject.entries() <= {"a\0ü", "b\0ü"}
    assert worker.apply(replace(worker.write(2, ["c"]), entries=moved)) == {}
    assert subject.entries() == ({"a\0z", "b\0ü"} if subject.name.startswith("view.") else set())


def test_parked_events_are_known_to_the_next_worker_by_aggregate_and_by_what_counts(subject: Subject) -> None:
    worker = Worker(subject)
    some = [parked(1, "bad"), parked(2, "bad", "waits", version=2), parked(3, "worse", "record", version=0)]
    worker.apply(worker.write(0, ["a"], parked=some))
    worker.apply(worker.write(4, ["b"]))
    at = Worker(subject).at
    assert (at[worker.lane()].position, at[worker.lane()].parked) == (5, {"bad": 2, "worse": 1})
    assert (at[worker.lane()].counted, at[worker.lane()].untried) == (1, frozenset())
    assert at[worker.lane(1)].parked == {}
    assert worker.store.parked(worker.lane(), "bad") == some[:2]
    assert worker.store.parked(worker.lane()) == [some[2], *some[:2]], "in order of version"


def test_what_other_code_has_tried_is_told_apart_but_not_what_waits_behind_it(subject: Subject) -> None:
    worker = Worker(subject)
    some = [parked(1, "bad", code="old"), parked(2, "new"), parked(3, "other", "waits", code="old")]
    worker.apply(worker.write(0, ["a"], parked=some))
    worker.apply(worker.write(4, ["b"]))
    assert Worker(subject).at[worker.lane()].untried == frozenset({"bad"})


def test_a_write_can_unpark_an_event_and_keep_another_with_a_new_reason(subject: Subject) -> None:
    worker = Worker(subject)
    worker.apply(worker.write(0, ["a"], parked=[parked(1, "bad"), parked(2, "worse")]))
    worker.apply(worker.write(3, ["b"]))
    mended = replace(worker.write(4, ["c"]), position=4, unparked=[1], parked=[parked(2, "worse", "gap")])
    assert worker.apply(mended) == {}
    assert subject.held() == {"a", "b", "c"}
    assert worker.store.parked(worker.lane()) == [parked(2, "worse", "gap")]
    at = Worker(subject).at[worker.lane()]
    assert (at.parked, at.counted) == ({"worse": 1}, 0)


def test_what_is_dropped_is_known_to_the_next_worker(subject: Subject) -> None:
    worker = Worker(subject)
    for _ in range(2):
        worker.store.drop(worker.lane(), 1, "not ours")
    at = Worker(subject).at
    assert (at[worker.lane()].dropped, at[worker.lane(1)].dropped) == (frozenset({1}), frozenset())


def test_why_and_when_an_event_was_dropped_first_is_kept(subject: Subject) -> None:
    worker, before = Worker(subject), datetime.now(UTC)
    for reason in ("it's ü", "later"):
        worker.store.drop(worker.lane(), 1, reason)
    [(offset, fact)] = Worker(subject).store.dropped(worker.lane()).items()
    assert (offset, fact.reason) == (1, "it's ü")
    assert before <= fact.at <= datetime.now(UTC)
    assert worker.store.dropped(worker.lane(1)) == {}


def test_requests_are_found_by_the_partitions_owner_in_order_until_they_are_finished(subject: Subject) -> None:
    operator, owner = Worker(subject), Worker(subject)
    first = Request(f"1-{uuid4()}", owner.lane(), "drop", "milk", "it's ü", 7)
    second = Request(f"2-{uuid4()}", owner.lane(1), "pass", "", "a reason")
    elsewhere = Request(f"3-{uuid4()}", owner.lane(2), "retry", "milk")
    operator.store.ask([second, first, elsewhere])
    lanes = [owner.lane(), owner.lane(1)]
    assert owner.store.requests(lanes) == [first, second]
    owner.store.finish(first)
    assert Worker(subject).store.requests(lanes) == [second]


def test_what_an_operator_lets_pass_counts_no_longer(subject: Subject) -> None:
    worker = Worker(subject)
    worker.apply(worker.write(0, ["a"], parked=[parked(1, "bad"), parked(2, "far", "gap")]))
    worker.apply(worker.write(3, ["b"]))
    worker.store.pass_by(worker.lane())
    at = Worker(subject).at[worker.lane()]
    assert (at.counted, at.parked) == (0, {"bad": 1, "far": 1})


def test_a_batch_of_many_thousand_effects_is_kept_whole(subject: Subject) -> None:
    names = [f"name-{number}" for number in range(12_345)]
    worker = Worker(subject)
    worker.apply(worker.write(0, names))
    assert subject.held() == set(names)
    assert len(subject.entries()) == (len(names) if subject.name.startswith("view.") else 0)


def test_a_write_that_the_store_can_not_take_leaves_nothing_and_does_not_harm_the_next(subject: Subject) -> None:
    worker = Worker(subject)
    bad = worker.write(0, ["a", "b"])
    bad.rows["c"] = {"n": 2**80}
    bad.records.append((2, product("c") | {"price_minor": "much"}))
    bad.events.append(bad.events[0]._replace(id=None))  # type: ignore[arg-type]  # what the database refuses
    # In ClickHouse these are kept first; they must not stand for the rows before them.
    bad.parked.append(parked(2, "bad"))
    failures = worker.store.apply([bad])
    assert list(failures) == [worker.lane()], "an error of the data, or it would be tried for ever"
    assert not isinstance(failures[worker.lane()], Refused)
    assert (subject.held(), subject.entries()) == (set(), set())
    assert Worker(subject).at[worker.lane()] == Progress()
    assert worker.apply(worker.write(0, ["a"])) == {}
