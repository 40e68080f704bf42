"""What the demo shows of a stack that is up: real baskets over HTTP, views and tables that are rebuilt and proven."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from demo.after import Ended, ended, follow
from demo.cards import mixed
from demo.load import Loaded, load
from kernel import settings
from ops.balance import LINES
from ops.books import waits
from ops.generations import rebuildable
from ops.progress import Bar
from ops.rebuild import Rebuilt, rebuild
from ops.verify import Verified, verify
from streams.engine.stores.clickhouse import connect

_BY_DEPARTMENT = """
SELECT department, sum(quantity * unit_price_minor) AS placed_minor
FROM order_lines GROUP BY department ORDER BY placed_minor DESC, department
"""
_SHOWN_DEPARTMENTS = 5
#: Orders that are packed and sent while the demo lasts; the others wait for staff.
_PACKED = 200
#: Orders a second: as many as a fresh machine carries, so that what is measured is the path and not a queue before it.
_ORDERS_PER_S = 100.0


@dataclass(frozen=True)
class Shown:
    """What the demo found out."""

    loaded: Loaded
    staff: Mapping[str, int]
    ended: Ended
    waiting: Mapping[str, int]
    verified: Verified
    rebuilt: Mapping[str, Rebuilt]
    placed_minor_by_department: Mapping[str, int]
    elapsed_s: float

    @property
    def is_proven(self) -> bool:
        """Whether every view and table is what PostgreSQL says, and what a replay gives."""
        return not self.verified.differing and all(each.identical for each in self.rebuilt.values())

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        loaded = self.loaded
        return {
            "orders": {
                "placed": loaded.placed,
                "confirmed": loaded.confirmed,
                "rejected": loaded.rejected,
                "cancelled": loaded.cancelled,
                "refused": loaded.refused,
            },
            "states": [dict(zip(("status", "reason", "orders"), each, strict=True)) for each in self.ended.states],
            "waiting_for": dict(self.waiting),
            "cases": dict(self.ended.cases),
            "staff": dict(self.staff),
            "freshness_ms": loaded.freshness_ms,
            "read_ms": loaded.read_ms,
            "placed_minor_by_department": dict(self.placed_minor_by_department),
            "verify": self.verified.totals(),
            "rebuild": {name: asdict(rebuilt) for name, rebuilt in self.rebuilt.items()},
            "elapsed_s": round(self.elapsed_s, 1),
        }


def show(orders: int, started: float) -> Shown:
    """The demo on the stack that the settings name, which must be up."""
    loaded = load(orders, _ORDERS_PER_S, mixed)
    staff = follow(_PACKED)
    verified = verify()  # then all that has happened is in the tables
    found, waiting = ended(), waits()
    rebuilt = {name: _rebuild(name) for name in rebuildable()}
    rows: Sequence[Any] = connect(settings.clickhouse_url()).query(_BY_DEPARTMENT).result_rows
    by_department: dict[str, int] = dict(rows)
    return Shown(loaded, staff, found, waiting, verified, rebuilt, by_department, monotonic() - started)


def print_summary(output: Console, shown: Shown) -> None:
    """What was found out, and where to look."""
    loaded, verified = shown.loaded, shown.verified.totals()
    table = Table(box=None, show_header=False, padding=(0, 2))
    answers = f"{loaded.confirmed:,} confirmed · {loaded.rejected:,} rejected · {loaded.cancelled:,} cancelled"
    table.add_row("orders", f"{loaded.placed:,} placed · {answers}")
    table.add_row("", f"{loaded.refused:,} refused · {loaded.skipped_baskets:,} baskets skipped")
    table.add_row("over HTTP", f"{loaded.orders_per_s:,.0f} orders/s · {_milliseconds(loaded.http_ms)}")
    table.add_row("commit to view", _milliseconds(loaded.freshness_ms))
    table.add_row("read own write", f"{_milliseconds(loaded.read_ms)}, with the token of its answer")
    for department, minor in list(shown.placed_minor_by_department.items())[:_SHOWN_DEPARTMENTS]:
        table.add_row(department.lower(), f"{minor / 100:,.2f} USD")
    found = (
        f"[red]{verified['differences']:,} differences[/red]" if verified["differences"] else "no difference"
    )
    table.add_row("verify", f"{verified['checked']:,} rows compared with PostgreSQL: {found}")
    money = {name: shown.verified.differing.get(name, 0) for name in LINES}
    table.add_row("money and goods", "all agree" if not any(money.values()) else f"[red]{money}[/red]")
    for name, rebuilt in shown.rebuilt.items():
        same = "identical" if rebuilt.identical else "[red]not identical[/red]"
        table.add_row(
            f"rebuild {name}", f"{rebuilt.events:,} events · {rebuilt.events_per_s:,.0f}/s · {same}"
        )
    table.add_row("staff", _counts(shown.staff))
    table.add_row("open orders wait for", _counts(shown.waiting))
    table.add_row("needs a person", _counts(shown.ended.cases))
    table.add_row("in all", f"{shown.elapsed_s:.1f} s")
    output.print(_states(shown.ended), highlight=False)
    output.print(table, highlight=False)


def _states(found: Ended) -> Table:
    table = Table("order", "why", Column("orders", justify="right"), box=None, padding=(0, 2))
    for status, reason, orders in found.states:
        table.add_row(status, reason, f"{orders:,}")
    return table


def _counts(counts: Mapping[str, int]) -> str:
    return " · ".join(f"{count:,} {name}" for name, count in counts.items()) or "nothing"


def _milliseconds(figures: Mapping[str, float | None]) -> str:
    known = {name: value for name, value in figures.items() if value is not None}
    return " · ".join(f"{name} {value:,.1f} ms" for name, value in known.items()) or "no order was new"


def _rebuild(name: str) -> Rebuilt:
    with Bar(f"Rebuilding {name}") as bar:
        return rebuild(name, on_progress=lambda name, done, total: bar.update(done, total=total))
