"""Summaries and tables in ClickHouse itself: what is written twice counts once, and a rebuild's switch is followed."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from clickhouse_connect.driver.client import Client

from api.services import tables
from kernel import settings
from kernel.code import ROOT
from local.stack import Stack
from ops import summaries
from ops.summaries import FOLDER, NotRefreshed, keep_summaries, make
from schemas.event import jsonable
from streams.engine.consumer import Row, Table
from streams.engine.stores.clickhouse import (
    connect,
    generation_table,
    live_generations,
    prepare,
    show_generation,
)
from tests.events import CANCELLED, LINE, PLACED, SETTLED, STOCK, life
from tests.stack.shop import eventually

DATABASE = "marea_test"
NOW = datetime.now(UTC)
SALES = "SELECT day, department, status, sum(lines), sum(units), sum(amount_minor) FROM sales GROUP BY ALL ORDER BY ALL"

every_table = pytest.mark.parametrize("table", tables().values(), ids=lambda table: table.name)


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    """A database of its own, in which no worker writes."""
    with connect(settings.clickhouse_url()) as outside:
        outside.command(f"CREATE DATABASE {DATABASE}")
        try:
            with connect(settings.clickhouse_url().rpartition("/")[0] + f"/{DATABASE}") as client:
                prepare(client)
                yield client
        finally:
            outside.command(f"DROP DATABASE {DATABASE} SYNC")


def write(client: Client, table: Table, generation: int, rows: Sequence[Row], times: int = 2) -> None:
    """Makes a generation with these rows, each time in an insert of its own, and shows it."""
    name = generation_table(table.name, generation)
    client.command((ROOT / table.columns).read_text(), {"table": name})
    client.command(f"SYSTEM STOP MERGES {name}")  # doubles stay where they are
    whole = [{**row, "_topic": table.topic, "_partition": 0, "_offset": offset} for offset, row in enumerate(rows)]
    for _ in range(times):
        client.insert(name, [[*row.values()] for row in whole], column_names=list(whole[0]))
    show_generation(client, table.name, generation)


def held(client: Client, table: Table, generation: int) -> int:
    """Rows that are there, doubles included; those of one insert are folded by the insert itself."""
    return int(str(client.command(f"SELECT count() FROM {generation_table(table.name, generation)}")))


@every_table
def test_an_event_that_is_written_twice_is_seen_once(client: Client, table: Table) -> None:
    rows = [row for event in life(table.topic) for row in table.rows(event)]
    write(client, table, 1, rows, times=1)
    once = client.query(f"SELECT * FROM {table.name} ORDER BY ALL").result_rows
    write(client, table, 2, rows)
    assert held(client, table, 2) == 2 * held(client, table, 1)
    assert client.query(f"SELECT * FROM {table.name} ORDER BY ALL").result_rows == once


def test_the_changes_of_an_order_add_up_to_its_state(client: Client) -> None:
    table = tables()["order_changes"]
    write(client, table, 1, [row for event in life(table.topic) for row in table.rows(event)])
    last = life(table.topic)[-1]
    state = jsonable(last.data) | {
        "version": last.version,
        "lines": [LINE],
        "updated_at": last.occurred_at.isoformat(),
    }
    found = client.query(str(table.state_query), {"table": "order_changes_1"}, tz_mode="aware")
    [row] = [dict(zip(found.column_names, row, strict=True)) for row in found.result_rows]
    assert [{**row, "order_id": str(row["order_id"])}] == list(table.expected([state]))


#: How many days ago an order was placed, of what, and how it ended.
ORDERS = (
    (2, "GROCERY", "OrderConfirmed"),
    (2, "GROCERY", "OrderRejected"),
    (1, "DELI", "OrderCancelled"),
    (0, "DELI", "OrderConfirmed"),
)
ENDINGS = {"OrderConfirmed": SETTLED, "OrderRejected": SETTLED | {"status": "rejected"}, "OrderCancelled": CANCELLED}


class Shop:
    """Orders of one line on the days before today and today, written as their events give them."""

    def __init__(self) -> None:
        self.events = []
        for number, (days, department, ending) in enumerate(ORDERS):
            placed_at, key = NOW - timedelta(days=days), str(UUID(int=number))
            data = {"order_id": key, "placed_at": placed_at}
            placed, settled, *_ = life("marea.order")
            line = {**LINE, "department": department}
            self.events.append(placed._replace(key=key, occurred_at=placed_at, data={**PLACED, **data, "lines": [line]}))
            summary = {**ENDINGS[ending], "reason": "x", **data}
            self.events.append(settled._replace(type=ending, key=key, occurred_at=NOW, data=summary))

    def show(self, client: Client, generation: int, events: Sequence[Any] | None = None) -> None:
        for name in ("orders", "order_lines"):
            table = tables()[name]
            rows = [row for event in self.events if events is None or event in events for row in table.rows(event)]
            write(client, table, generation, rows)


def sales(client: Client) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in client.query(SALES).result_rows]


def expected() -> list[tuple[Any, ...]]:
    """Of each order: two units of 150."""
    day = {days: (NOW - timedelta(days=days)).date() for days in range(3)}
    return sorted(
        [
            (day[2], "GROCERY", "confirmed", 1, 2, 300),
            (day[2], "GROCERY", "rejected", 1, 2, 300),
            (day[1], "DELI", "cancelled", 1, 2, 300),
            (day[0], "DELI", "confirmed", 1, 2, 300),
        ]
    )


def made(client: Client) -> None:
    make(client, FOLDER / "sales.sql")
    refreshed(client)


def refreshed(client: Client) -> None:
    client.command("SYSTEM REFRESH VIEW sales_history")
    client.command("SYSTEM WAIT VIEW sales_history")


def test_sales_count_what_is_written_twice_once(client: Client) -> None:
    Shop().show(client, 1)
    made(client)
    assert sales(client) == expected()


def test_days_that_are_over_are_added_up_beforehand_and_today_is_not(client: Client) -> None:
    Shop().show(client, 1)
    made(client)
    days = client.query("SELECT DISTINCT day FROM sales_history ORDER BY day").result_rows
    assert days == [((NOW - timedelta(days=2)).date(),), ((NOW - timedelta(days=1)).date(),)]


def test_sales_are_there_before_anything_has_been_added_up(client: Client) -> None:
    shop = Shop()
    shop.show(client, 1, events=shop.events[:2])
    made(client)
    client.command("SYSTEM STOP VIEW sales_history")
    client.command("TRUNCATE TABLE sales_history")
    shop.show(client, 2)
    assert sales(client) == expected()


def test_sales_follow_a_rebuilds_switch(client: Client) -> None:
    shop = Shop()
    shop.show(client, 1, events=shop.events[:4])
    made(client)
    assert sales(client) != expected()
    shop.show(client, 2)
    for name in ("orders", "order_lines"):
        client.command(f"DROP TABLE {generation_table(name, 1)} SYNC")
    refreshed(client)
    assert sales(client) == expected()


def test_movements_of_days_that_are_over_and_of_today_count_what_is_written_twice_once(client: Client) -> None:
    received, *_ = life("marea.stock")
    events = [
        received._replace(key=f"sku-{days}", occurred_at=NOW - timedelta(days=days), data={**STOCK, "sku": f"sku-{days}"})
        for days in (1, 1, 0)
    ]
    table = tables()["stock_movements"]
    write(client, table, 1, [row for event in events for row in table.rows(event)])
    make(client, FOLDER / "movements.sql")
    client.command("SYSTEM WAIT VIEW movements_history")
    found = client.query("SELECT minute, kind, movements, on_hand_delta FROM movements ORDER BY minute").result_rows
    minute = NOW.replace(second=0, microsecond=0, tzinfo=None)
    assert found == [(minute - timedelta(days=1), "received", 1, 5), (minute, "received", 1, 5)]
    assert client.command("SELECT count() FROM movements_history") == 1


def test_a_summary_is_made_anew_when_its_file_says_something_else_and_not_before(
    client: Client, tmp_path: Any
) -> None:
    Shop().show(client, 1)
    path = tmp_path / "sales.sql"
    path.write_text((FOLDER / "sales.sql").read_text())
    made_of = "SELECT comment FROM system.tables WHERE database = currentDatabase() AND name = 'sales'"
    uuid = "SELECT uuid FROM system.tables WHERE database = currentDatabase() AND name = 'sales_history'"
    make(client, path)
    first = client.command(uuid)
    make(client, path, str(client.command(made_of)))
    assert client.command(uuid) == first
    path.write_text(path.read_text().replace("REFRESH EVERY 1 HOUR", "REFRESH EVERY 2 HOUR"))
    make(client, path, str(client.command(made_of)))
    assert client.command(uuid) != first


def test_a_summary_that_can_not_be_made_yet_says_why(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "live_generations", lambda client, tables: dict.fromkeys([*tables][1:], 1))
    with pytest.raises(NotRefreshed, match=f"no worker has made the tables {next(iter(tables()))} yet"):
        keep_summaries()


def test_housekeeping_says_when_a_summary_is_not_refreshed(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(settings.clickhouse_url()) as client:
        eventually(lambda: live_generations(client, tables()).keys() == tables().keys())
    keep_summaries()
    monkeypatch.setattr(summaries, "_FAILED", "SELECT 'sales_history', 'no memory is left'")
    with pytest.raises(NotRefreshed, match="sales_history: no memory is left"):
        keep_summaries()
