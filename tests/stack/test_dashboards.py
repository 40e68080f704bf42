"""Every query of every panel, on the running stack: it is answered, and has something to show."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from dashboards.every import DASHBOARDS
from dashboards.model import SQL, Dashboard, PromQL, Query
from dashboards.pictures import draw
from dashboards.queries import NoAnswer, Sources, period_of, series_of
from kernel import settings
from local.stack import Stack
from ops.summaries import keep_summaries
from ops.verify import verify
from streams.engine.stores.clickhouse import connect
from tests.stack.shop import eventually
from tests.stack.watching import watched
from tests.stack.whole import House

each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)


@pytest.fixture(scope="module")
def sources(stack: Stack) -> Iterator[Sources]:
    """A stack that is watched, on which orders have been confirmed, rejected, declined, sent and given back, and stock was adjusted."""
    with watched(stack), connect(settings.clickhouse_url()) as client:
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
