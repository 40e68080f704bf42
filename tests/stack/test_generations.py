"""A rebuild may die, stand still or meet another at any moment, and Redis may lose all: what readers see stays right."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from api.services import tables, views
from kernel import settings
from ops.consumers import fares
from ops.generations import changed, generations_of, locked, rebuildable, sweep
from ops.parked import Desk
from ops.rebuild import RebuildFailed, rebuild, rebuild_consumer
from ops.verify import verify
from schemas.event import Event
from schemas.registry import connect as connect_registry
from streams.engine.consumer import Row, Table, View, consumer_id
from streams.engine.reader import Views
from streams.engine.replay import Replay
from streams.engine.stores import LaneId, Overtaken, Refused, Write
from streams.engine.stores.clickhouse import ClickHouseGenerations, ClickHouseStore
from streams.engine.stores.clickhouse import connect as connect_clickhouse
from streams.engine.stores.redis import RedisGenerations, RedisStore, new_number
from streams.engine.stores.redis import connect as connect_redis
from streams.tables.orders import orders
from tests.stack.buyers import Buyers, buying
from tests.stack.compared import compared
from tests.stack.shop import Shop, eventually

pytestmark = pytest.mark.usefixtures("stack")
#: A view and a table.
BOTH = pytest.mark.parametrize("name", ["order", "orders"])
PARTITIONS = 4


@pytest.fixture(scope="module")
def skus() -> list[str]:
    shop = Shop()
    return [shop.stocked(f"item{n}", 1_000_000) for n in range(5)]


@pytest.fixture
def buyers(skus: list[str]) -> Iterator[Buyers]:
    """Load; afterwards all of it is settled, and is as PostgreSQL has it."""
    with buying(skus) as buyers:
        buyers.await_more(8)
        yield buyers
        buyers.await_more(8)
    buyers.check()
    assert compared("view.order", "table.orders").differences == []


def redis() -> Any:
    return connect_redis(settings.redis_url())


def begun(name: str) -> RedisGenerations | ClickHouseGenerations:
    """The next generation, begun by a process that holds no lock any more."""
    client = redis()
    generations = generations_of(rebuildable()[name], client)
    generations.begin(partial(new_number, client, name))
    return generations


def replay(name: str, generations: RedisGenerations | ClickHouseGenerations, ends: dict[int, int]) -> set[int]:
    codec = connect_registry(settings.registry_url())
    with Replay(rebuildable()[name], generations.store(), codec, settings.kafka(), 5) as replay:
        return replay.to(ends)


def left(name: str, generation: int) -> list[str]:
    """What there is of a generation beside its seals."""
    keys = [*redis().scan_iter(f"*{{{name}.{generation}:*"), *redis().scan_iter(f"copy.{generation}:*{{{name}.*")]
    found = [key.decode() for key in keys if redis().type(key) != b"hash" or redis().hget(key, "offset") != b"sealed"]
    with connect_clickhouse(settings.clickhouse_url()) as client:
        pattern = f"^{name}(_copy|_retired)?_{generation}$"
        rows = client.query("SELECT name FROM system.tables WHERE match(name, {p:String})", {"p": pattern}).result_rows
    return found + [table for (table,) in rows]


def is_kept_out(name: str, generations: RedisGenerations | ClickHouseGenerations) -> bool:
    """Whether nothing of what a rebuild writes gets through."""
    try:
        return replay(name, generations, generations.live_positions()) != set()
    except DatabaseError as error:
        return "UNKNOWN_TABLE" in str(error)


@BOTH
@pytest.mark.usefixtures("skus")
def test_what_a_rebuild_has_left_that_died_is_swept_and_one_that_lives_is_left_alone(name: str) -> None:
    died = begun(name)
    assert left(name, died.next)
    with locked(redis(), name):
        sweep()
        assert left(name, died.next), "whoever holds the lock is at work on it"
    sweep()
    assert left(name, died.next) == []
    assert changed() == []


@BOTH
def test_a_rebuild_may_die_between_the_switch_and_its_end(name: str, buyers: Buyers) -> None:
    died = begun(name)
    replay(name, died, died.live_positions())
    died.switch()
    buyers.await_more(8)
    sweep()
    assert left(name, died.live) == []
    assert left(name, died.next), "it is live"


@BOTH
def test_a_rebuild_that_comes_back_after_another_has_begun_does_no_harm(name: str, buyers: Buyers) -> None:
    zombie = begun(name)
    replay(name, zombie, dict.fromkeys(range(PARTITIONS), 1))
    other = begun(name)
    assert other.next > zombie.next
    assert is_kept_out(name, zombie)
    with pytest.raises((Overtaken, DatabaseError)):
        zombie.switch()
    zombie.abandon()
    ends = other.live_positions()
    assert replay(name, other, ends) == set()
    other.switch()
    other.finish()
    with pytest.raises((Overtaken, DatabaseError)):
        zombie.switch()
    sweep()
    assert left(name, zombie.next) == []


def test_a_writer_of_a_view_that_comes_late_is_refused_by_a_deleted_generation() -> None:
    late = begun("product")
    lane = LaneId("view.product", 0)
    store = late.store()
    store.progress([lane])
    late.abandon()
    assert isinstance(store.apply([Write(lane, 0, 1)])[lane], Refused)


@BOTH
def test_a_rebuild_that_stands_still_while_another_is_made_fails_when_it_comes_back(name: str, buyers: Buyers) -> None:
    client = redis()
    last = int(client.get(f"last:{name}") or 0)
    command = [sys.executable, "-m", "ops", "rebuild", name]
    process = subprocess.Popen(command, env={**os.environ}, start_new_session=True)
    try:
        eventually(lambda: int(client.get(f"last:{name}") or 0) > last)
        os.killpg(process.pid, signal.SIGSTOP)
        client.delete(f"rebuild:{name}")  # as after LOCK_S
        assert rebuild(name).identical
    finally:
        os.killpg(process.pid, signal.SIGCONT)
    assert process.wait(60) != 0
    sweep()


@BOTH
def test_rebuilds_may_be_killed_at_any_moment(name: str, buyers: Buyers) -> None:
    for pause_s in (1.0, 1.6, 2.2, 2.8, 3.4):
        redis().delete(f"rebuild:{name}")  # as after LOCK_S
        command = [sys.executable, "-m", "ops", "rebuild", name]
        process = subprocess.Popen(command, env={**os.environ}, start_new_session=True, stderr=subprocess.DEVNULL)
        try:
            process.wait(pause_s)
        except subprocess.TimeoutExpired:
            process.kill()  # and not its children, which go on
            process.wait()
    redis().delete(f"rebuild:{name}")
    sweep()
    assert rebuild(name).identical
    assert changed() == []


@BOTH
def test_a_rebuild_under_load_catches_up_and_readers_are_hardly_set_back(name: str, buyers: Buyers) -> None:
    rebuilt = rebuild(name)
    assert rebuilt.identical
    assert rebuilt.behind_s < 2.0, f"a token waits for 2 s: {rebuilt}"


def test_a_generation_that_other_code_has_written_to_is_known_until_it_is_rebuilt() -> None:
    live = Views(settings.redis_url(), PARTITIONS).generation("stock")
    redis().sadd("fold:stock", f"{live}:other")
    with connect_clickhouse(settings.clickhouse_url()) as client:
        number = int(str(client.command("SELECT comment FROM system.tables WHERE name = 'products'")))
        client.insert("generation", [["products", number, "other"]], column_names=["name", "number", "code"])
    assert changed() == ["stock", "products"]
    assert [each.name for each in fares() if "rows of other code" in each.state] == ["view.stock", "table.products"]
    for name in changed():
        assert rebuild(name, accept_differences=True).identical
    assert changed() == []


def test_a_redis_that_lost_all_is_filled_again_from_the_topics(buyers: Buyers) -> None:
    rebuild("order")
    redis().flushall()
    reader = Views(settings.redis_url(), PARTITIONS)
    eventually(lambda: reader.get("order", buyers.accepted[0]))
    assert verify().differences == []
    # What had been dropped is parked again: that it was dropped has been lost, too.
    desk = Desk()
    desk.drop(desk.aggregates(), "dropped before")


def test_a_redis_that_lost_the_number_of_the_live_generation_finds_it_again(buyers: Buyers) -> None:
    reader = Views(settings.redis_url(), PARTITIONS)
    rebuild("order")
    live, died = reader.generation("order"), begun("order")
    known = buyers.accepted[0]
    before = eventually(lambda: reader.get("order", known))
    redis().delete("live:order")
    assert reader.generation("order") == live
    assert (reader.get("order", known) or b"")[:20] == before[:20]
    assert Views(settings.redis_url(), PARTITIONS).get("order", known), "one that never knew the number"
    eventually(lambda: redis().get("live:order") == str(live).encode())
    died.abandon()


def test_a_lane_without_any_event_is_not_left_in_a_generation_that_redis_has_lost() -> None:
    """Its position is the same in both, and so is that which its next write expects."""
    view = View(f"lost-{uuid4()}", tables()["orders"].topic, lambda row, event: row, lambda states: iter(()))
    client, lane = redis(), LaneId(consumer_id(view), 0)
    client.set(f"live:{view.name}", 7)
    store = RedisStore(client, [view])
    store.progress([lane])
    assert store.positions([lane]) == {lane: 0}
    try:
        client.delete(f"live:{view.name}", f"fold:{view.name}")
        assert store.positions([lane]) == {lane: -1}
        assert client.get(f"live:{view.name}") == b"1"
    finally:
        client.delete(*client.scan_iter(f"*{view.name}*"))


OLD_COLUMNS = """
CREATE TABLE IF NOT EXISTS {table:Identifier} (
    order_id UUID, version UInt64, customer_id String, status LowCardinality(String), line_count UInt32,
    _topic LowCardinality(String), _partition UInt16, _offset UInt64
) ENGINE = ReplacingMergeTree(version) ORDER BY order_id
"""
#: `customer_id` is gone, `total_minor` is new, `line_count` has another type.
NEW_COLUMNS = OLD_COLUMNS.replace("customer_id String", "total_minor Int64").replace("UInt32", "UInt64")


def old_rows(event: Event) -> list[Row]:
    names = ("order_id", "version", "customer_id", "status", "line_count")
    return [{name: row[name] for name in names} for row in orders.rows(event)]


def new_rows(event: Event) -> list[Row]:
    names = ("order_id", "version", "total_minor", "status", "line_count")
    return [{name: row[name] for name in names} for row in orders.rows(event)]


def nothing(states: Iterable[Row]) -> Iterator[Row]:
    """No service has states of it: it is not verified."""
    return iter(())


@pytest.fixture
def shapes(tmp_path: Path) -> Iterator[tuple[Table, Table]]:
    """One table as older and as newer code has it."""
    (tmp_path / "old.sql").write_text(OLD_COLUMNS)
    (tmp_path / "new.sql").write_text(NEW_COLUMNS)
    topic = tables()["orders"].topic
    yield (
        Table("shapes", topic, old_rows, nothing, str(tmp_path / "old.sql")),
        Table("shapes", topic, new_rows, nothing, str(tmp_path / "new.sql")),
    )
    with connect_clickhouse(settings.clickhouse_url()) as client:
        client.command("DROP VIEW IF EXISTS shapes")
        for (name,) in client.query("SELECT name FROM system.tables WHERE match(name, '^shapes_')").result_rows:
            client.command(f"DROP TABLE {name}")
        for table in ("position", "parked"):
            client.command(f"DELETE FROM {table} WHERE startsWith(generation, 'shapes')")


def write(table: Table, ends: dict[int, int]) -> None:
    """As a worker that has this code."""
    store = ClickHouseStore(settings.clickhouse_url(), [table])
    with Replay(table, store, connect_registry(settings.registry_url()), settings.kafka(), 5) as replay:
        replay.to(ends)


def test_a_tables_columns_may_change_and_old_rows_get_the_new_ones(shapes: tuple[Table, Table], skus: list[str]) -> None:
    old, new = shapes
    shop = Shop()
    before = [shop.settled(shop.order([(skus[0], 2)]).json()["id"]) for _ in range(20)]
    live = generations_of(tables()["orders"], redis())
    eventually(lambda: counted("orders", [order["id"] for order in before]) == 20)
    ends = live.live_positions()
    write(old, {partition: end // 2 for partition, end in ends.items()})
    write(new, ends)  # leaves out what the generation lacks
    assert counted("shapes", [order["id"] for order in before]) == 20

    rebuilt = rebuild_consumer(new)
    assert (rebuilt.identical, rebuilt.changed_columns) == (True, ("customer_id", "line_count", "total_minor"))
    with connect_clickhouse(settings.clickhouse_url()) as client:
        shown = client.query("SELECT * FROM shapes").named_results()
        found = {str(row["order_id"]): row for row in shown}
    assert "customer_id" not in found[before[0]["id"]]
    assert all(found[order["id"]]["total_minor"] == order["total_minor"] for order in before)

    after = shop.settled(shop.order([(skus[0], 2)]).json()["id"])
    eventually(lambda: counted("orders", [after["id"]]))
    write(old, live.live_positions())  # an old worker that is still there: the default fills what it lacks
    with connect_clickhouse(settings.clickhouse_url()) as client:
        query = "SELECT total_minor, line_count FROM shapes WHERE order_id = {id:UUID}"
        assert client.query(query, {"id": after["id"]}).result_rows == [(0, 1)]


def counted(table: str, order_ids: list[str]) -> int:
    with connect_clickhouse(settings.clickhouse_url()) as client:
        query = f"SELECT count() FROM {table} WHERE order_id IN {{ids:Array(UUID)}} AND status != 'placed'"
        return int(str(client.command(query, {"ids": order_ids})))


def test_only_one_rebuilds_at_a_time_for_as_long_as_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.generations.LOCK_S", 0.6)
    name = next(iter(views()))
    client = redis()
    with locked(client, name) as lock:
        assert lock
        lasts = [client.pttl(f"rebuild:{name}")]

        def extended() -> bool:
            lasts.append(client.pttl(f"rebuild:{name}"))
            return bool(lasts[-1] > lasts[-2])

        for _ in range(5):
            eventually(extended)
        with pytest.raises(RebuildFailed, match="by somebody else"):
            rebuild(name)
