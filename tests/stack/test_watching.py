"""Those who watch the stack, whom one start of theirs serves: alerts, then dashboards.

Faults under which each alert fires, and which end by what its section in docs/operate.md says; and every query of every panel,
which is answered, and has something to show.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import requests
from confluent_kafka import Producer

from api.services import metrics, services
from connectors.relay import MISSING, connector_status, resume
from dashboards.every import DASHBOARDS
from dashboards.model import SQL, Dashboard, PromQL, Query
from dashboards.pictures import draw
from dashboards.queries import NoAnswer, Sources, period_of, series_of
from kernel import settings
from kernel.outside import MOST_FAILURES
from local.stack import Stack
from ops.databases import admin, admin_url, database_of, databases
from ops.parked import Desk
from ops.positions import progress
from ops.rebuild import rebuild
from ops.summaries import keep_summaries
from ops.verify import verify
from schemas import product
from streams.engine.stores.clickhouse import connect as connect_clickhouse
from streams.engine.stores.redis import connect as connect_redis
from streams.engine.stores.redis import keys_of, live_generation
from tests.stack.shop import eventually
from tests.stack.watching import Prometheus, watched
from tests.stack.whole import House, parcel

each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)

WORKERS = ("worker-1", "worker-2")
#: Ours; what exporters say does not count.
MOST_SERIES = 6_000


@pytest.fixture(scope="module")
def prometheus(stack: Stack) -> Iterator[Prometheus]:
    with watched(stack) as prometheus:
        eventually(lambda: not prometheus.down())
        verify()  # that nobody ever has is an alert
        yield prometheus


@pytest.fixture(scope="module")
def shop(prometheus: Prometheus) -> House:
    return House()


@pytest.fixture(scope="module")
def sku(shop: House) -> str:
    return shop.stocked("item", 1_000_000)


@pytest.fixture(autouse=True)
def quiet(prometheus: Prometheus) -> Iterator[None]:
    """Nothing but the watchdog is there before and after each fault: what the runbook says has cleared it."""
    prometheus.await_quiet()
    yield
    prometheus.await_quiet()


def ready(stack: Stack, name: str) -> requests.Response:
    """What a program says of whether it is ready."""
    return requests.get(f"http://{stack.layout.address(name)}/health/ready", timeout=10)


def has_let_go_of_wal(prometheus: Prometheus) -> bool:
    """After a checkpoint, which PostgreSQL makes by itself every quarter of an hour."""
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute("CHECKPOINT")
    return "SlotRetainsWal" not in prometheus.firing()


def fire(prometheus: Prometheus, *alerts: str) -> None:
    eventually(lambda: {*alerts} <= prometheus.firing())


def test_whoever_has_to_be_asked_answers_and_all_that_is_measured_has_values(
    prometheus: Prometheus, shop: House, sku: str
) -> None:
    """As the manifests say: no service, and no worker, is named anywhere else."""
    assert shop.order([(sku, 1)]).ok
    assert verify().differences == []
    asked = {dict(labels)["instance"] for labels in prometheus.query("up == 1")}
    assert asked >= {*(each.name for each in services()), *WORKERS, "keep", "observer", "postgresql", "kafka"}

    def missing() -> set[str]:
        told = {dict(labels)["__name__"] for labels in prometheus.query('group by (__name__) ({__name__!=""})')}
        suffixes = {"histogram": "_count"}
        return {each.name for each in metrics() if each.name + suffixes.get(each.kind, "") not in told}

    eventually(lambda: not missing())


def test_what_is_told_is_what_status_tells(prometheus: Prometheus) -> None:
    def told() -> dict[tuple[str, int], int]:
        found = prometheus.query("marea_consumer_position").items()
        return {(dict(at)["consumer"], int(dict(at)["partition"])): int(position) for at, position in found}

    def known() -> dict[tuple[str, int], int]:
        return {(name, partition): at.position for name, mine in progress().items() for partition, at in mine.items()}

    eventually(lambda: told() == known())


def test_there_are_few_series_whatever_has_happened(prometheus: Prometheus) -> None:
    [count] = prometheus.query('count({job=~"services|workers|keep|observer"})').values()
    assert count < MOST_SERIES


def test_an_alert_gets_as_far_as_alertmanager(prometheus: Prometheus) -> None:
    eventually(lambda: "Watchdog" in prometheus.told())


def test_the_relay_is_away(stack: Stack, prometheus: Prometheus, shop: House, sku: str) -> None:
    """Commits reach nobody, and PostgreSQL keeps them: more than it should."""
    stack.stop("connect")
    assert shop.order([(sku, 1)]).ok
    for database in databases():
        with admin(admin_url(database)) as cursor:
            cursor.execute(
                "SELECT pg_logical_emit_message(false, 'heartbeat', repeat('x', 1000000)) FROM generate_series(1, 25)"
            )
    fire(prometheus, "RelaySilent", "SlotLost", "SlotRetainsWal", "OrderStuck")
    stack.start("connect")
    eventually(lambda: has_let_go_of_wal(prometheus))


def test_the_relay_is_paused(prometheus: Prometheus) -> None:
    """Which somebody has done on purpose, so housekeeping leaves it alone."""
    [database] = databases()
    url = f"{settings.connect_url()}/connectors/{database.connector}/pause"
    assert requests.put(url, timeout=30).ok
    fire(prometheus, "RelayFailed")
    assert connector_status(settings.connect_url(), database).state not in ("RUNNING", MISSING)
    resume(settings.connect_url(), database)


def test_workers_are_away(stack: Stack, prometheus: Prometheus, shop: House, sku: str) -> None:
    for name in WORKERS:
        stack.stop(name)
    assert shop.order([(sku, 1)]).ok
    fire(prometheus, "ConsumerUnread", "ConsumerStuck", "ConsumerStale")
    for name in WORKERS:
        stack.start(name)


def test_a_record_is_no_event(prometheus: Prometheus) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka()})
    producer.produce(product.TOPIC, b"garbage", "garbage")
    assert producer.flush(30) == 0
    fire(prometheus, "EventsParked")
    desk = Desk()
    desk.drop(desk.aggregates(), "the test has written it")


def test_a_view_is_not_what_postgresql_says(prometheus: Prometheus, shop: House, sku: str) -> None:
    client = connect_redis(settings.redis_url())
    keys = [keys_of("product", live_generation(client, "product"), each) for each in range(settings.partitions())]
    assert sum(int(client.hdel(each.rows, sku)) for each in keys) == 1
    assert len(verify().differences) == 1
    fire(prometheus, "VerifyDiffers")
    rebuild("product", accept_differences=True)
    assert verify().differences == []


def test_the_provider_is_away(stack: Stack, prometheus: Prometheus, shop: House, sku: str) -> None:
    """Nobody knows whether it has done what it was asked for; when it is back all comes right."""
    stack.stop("provider")
    orders = [shop.placed([(sku, 2)], "tok_approved") for _ in range(MOST_FAILURES + 2)]
    fire(prometheus, "PaymentsUnknown", "BreakerOpen")
    stack.start("provider")
    for order_id in orders:
        shop.becomes(order_id, "confirmed")


def test_a_parcel_is_not_paid_for(prometheus: Prometheus, shop: House, sku: str) -> None:
    order_id = shop.confirmed([(sku, 2)], "tok_capture_declined")
    shop.pack(order_id)
    fire(prometheus, "CasesOpen")
    shop.pay(order_id)
    shop.until(order_id, lambda order: parcel(order)["status"] == "ready")


def test_an_order_owes_something_else_than_was_paid(prometheus: Prometheus, shop: House, sku: str) -> None:
    order_id = shop.completed(sku)
    due = "UPDATE orders.orders SET state = jsonb_set(state, '{due_minor}', to_jsonb((state ->> 'due_minor')::bigint + %s)) WHERE id = %s"
    with admin(admin_url(database_of("orders"))) as cursor:
        cursor.execute(due, (1, order_id))
        assert {"money.due"} <= {each.consumer for each in verify().differences}
        fire(prometheus, "MoneyDiffers")
        cursor.execute(due, (-1, order_id))
    assert verify().differences == []


def test_a_store_comes_back_without_what_it_had_acknowledged(prometheus: Prometheus, sku: str) -> None:
    client = connect_redis(settings.redis_url())
    lagging = {name: at for name, at in progress()["view.stock"].items() if at.position}
    partition = min(lagging)
    keys = keys_of("stock", live_generation(client, "stock"), partition)
    client.hset(keys.position, "offset", str(lagging[partition].position - 1))
    fire(prometheus, "StoreLosing")
    assert verify().differences == []


def test_a_table_has_too_many_parts(prometheus: Prometheus) -> None:
    clickhouse = connect_clickhouse(settings.clickhouse_url())
    clickhouse.command("CREATE TABLE many (number UInt64) ENGINE = MergeTree ORDER BY number")
    try:
        clickhouse.command("SYSTEM STOP MERGES many")
        one_by_one = "SETTINGS max_block_size = 1, min_insert_block_size_rows = 1, min_insert_block_size_bytes = 1"
        clickhouse.command(f"INSERT INTO many SELECT number FROM numbers(301) {one_by_one}")
        fire(prometheus, "TooManyParts")
        clickhouse.command("SYSTEM START MERGES many")
        clickhouse.command("OPTIMIZE TABLE many FINAL")
        eventually(lambda: "TooManyParts" not in prometheus.firing())
    finally:
        clickhouse.command("DROP TABLE many SYNC")


def test_a_worker_whose_sink_is_away_is_not_ready_and_says_which(stack: Stack, shop: House, sku: str) -> None:
    stack.stop("redis")
    try:
        assert shop.order([(sku, 1)]).ok

        def said() -> str:
            return "".join(ready(stack, name).text for name in WORKERS)

        eventually(lambda: "views has not been up to date" in said())
        assert "reactions.inventory has not" not in said()
    finally:
        stack.start("redis")
    eventually(lambda: all(ready(stack, name).ok for name in WORKERS))


def test_nobody_observes(stack: Stack, prometheus: Prometheus) -> None:
    stack.stop("observer")
    fire(prometheus, "ObserverDown")
    stack.start("observer")


@pytest.fixture(scope="module")
def sources(prometheus: Prometheus) -> Iterator[Sources]:
    """With orders that were confirmed, rejected, declined, sent and given back, and stock that was adjusted."""
    with connect_clickhouse(settings.clickhouse_url()) as client:
        sold_something()
        eventually(lambda: client.command("SELECT count() FROM order_changes WHERE status = 'cancelled'"))
        eventually(lambda: client.command("SELECT count() FROM payment_changes WHERE what = 'PaymentRefunded'"))
        eventually(lambda: client.command("SELECT count() FROM returns WHERE status = 'refunded'"))
        eventually(lambda: client.command("SELECT count() FROM stock_movements WHERE kind = 'adjusted'"))
        keep_summaries()
        verify()  # which says how many rows differ
        yield Sources(client, settings.setting("PROMETHEUS_URL"))


def sold_something() -> None:
    shop = House()
    sku = shop.stocked("item", 1_000)  # with an order that is rejected
    shop.becomes(shop.placed([(sku, 1)], "tok_declined"), "cancelled")
    order_id = shop.completed(sku)
    assert shop.give_back(order_id, {sku: 1}).ok
    shop.take_back(order_id)
    order = shop.settled(shop.order([(sku, 3)]).json()["id"])
    assert shop.post(f"/orders/{order['id']}/cancel", {}).ok
    shop.settled(shop.order([(sku, 2)]).json()["id"])
    assert shop.post(f"/stock/{sku}/adjustments", {"quantity": -1, "reason": "broken"}).ok


def every(kind: type[Query]) -> list[tuple[Dashboard, str, Query]]:
    return [
        (dashboard, panel.title, query)
        for dashboard in DASHBOARDS
        for panel in dashboard.panels()
        for query in panel.queries
        if isinstance(query, kind)
    ]


def named(value: object) -> str:
    return value.uid if isinstance(value, Dashboard) else value if isinstance(value, str) else ""


@pytest.mark.parametrize(("dashboard", "title", "query"), every(SQL), ids=named)
def test_clickhouse_answers_with_rows(sources: Sources, dashboard: Dashboard, title: str, query: SQL) -> None:
    period = period_of(dashboard)
    answer = sources.ask(query, period, sources.values(dashboard, period))
    assert answer.rows, title
    if query.is_series:
        assert all(before[0] <= after[0] for before, after in pairwise(answer.rows)), "Grafana wants times in order"
        assert series_of(answer)


@pytest.mark.parametrize(("dashboard", "title", "query"), every(PromQL), ids=named)
def test_prometheus_answers_with_values(sources: Sources, dashboard: Dashboard, title: str, query: PromQL) -> None:
    """Once it has looked a few times."""

    def rows() -> bool:
        period = period_of(dashboard)
        return bool(sources.ask(query, period, sources.values(dashboard, period)).rows)

    eventually(rows)


@each_dashboard
def test_a_dashboard_is_drawn_with_data_in_every_panel(
    sources: Sources, dashboard: Dashboard, tmp_path: Path
) -> None:
    eventually(lambda: not draw(dashboard, sources, tmp_path).empty)
    assert (tmp_path / f"{dashboard.uid}.png").read_bytes().startswith(b"\x89PNG")


def test_what_a_source_refuses_is_said_in_its_words(sources: Sources) -> None:
    period = period_of(DASHBOARDS[0])
    with pytest.raises(NoAnswer, match="parse error"):
        sources.ask(PromQL("sum("), period, {})
    with pytest.raises(NoAnswer, match=r"does not answer at http://127\.0\.0\.1:1:"):
        Sources(sources.clickhouse, "http://127.0.0.1:1").ask(PromQL("up"), period, {})
