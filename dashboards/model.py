"""What a dashboard is: rows of panels, each of which answers one question with queries."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

#: A panel's width; a row is as wide as the whole.
QUARTER, THIRD, HALF, WHOLE = 6, 8, 12, 24
_STAT_HEIGHT, _HEIGHT = 4, 8

#: What an order's state looks like.
STATES = {
    "placed": "blue",
    "reserved": "purple",
    "confirmed": "green",
    "completed": "yellow",
    "rejected": "red",
    "cancelled": "orange",
    "stopping": "orange",
    "undoing": "orange",
}


@dataclass(frozen=True)
class PromQL:
    """A query of Prometheus; `legend` names its series by their labels. With `is_instant` only the last value counts."""

    text: str
    legend: str = ""
    is_instant: bool = False


@dataclass(frozen=True)
class SQL:
    """A query of ClickHouse, with the macros of Grafana's plugin.

    With `is_series` its first column is a time, and a column of text names the series.
    """

    text: str
    is_series: bool = False


Query = PromQL | SQL
#: One figure · lines over time · stacked columns over time · bars by name, the largest first · a table.
Kind = Literal["stat", "lines", "columns", "ranking", "table"]


@dataclass(frozen=True)
class Panel:
    """One question and its answer.

    `unit` is one of Grafana's. `steps` are values from which on a figure is yellow, then red; a figure for which less is
    worse has them falling.
    """

    kind: Kind
    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    width: int = QUARTER
    steps: tuple[float, float] | None = None
    decimals: int | None = None
    #: Units of columns of a table that are not the panel's.
    units: Mapping[str, str] = field(default_factory=dict)
    #: Colours of series that mean the same wherever they are.
    colours: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """Panels beside each other, under a title that says what they are about."""

    title: str
    panels: Sequence[Panel]


class Place(NamedTuple):
    """Where something stands: x and width of 24 columns, y and height in Grafana's units."""

    x: int
    y: int
    width: int
    height: int


def placed(rows: Sequence[Row]) -> Iterator[tuple[Row | Panel, Place]]:
    """Rows' titles and panels with their places, from the top on; what does not fit beside the others is below them."""
    y = 0
    for row in rows:
        yield row, Place(0, y, WHOLE, 1)
        y += 1
        x, height = 0, max(_STAT_HEIGHT if panel.kind == "stat" else _HEIGHT for panel in row.panels)
        for panel in row.panels:
            if x + panel.width > WHOLE:
                x, y = 0, y + height
            yield panel, Place(x, y, panel.width, height)
            x += panel.width
        y += height


@dataclass(frozen=True)
class Variable:
    """What readers choose from: the values that the query gives. Hidden ones follow from others."""

    name: str
    label: str
    query: Query
    is_multiple: bool = False
    is_hidden: bool = False


@dataclass(frozen=True)
class Dashboard:
    """One screen. `uid` never changes: links lead there."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[Variable] = ()
    #: How far back it looks at first, and how often it looks again.
    since: str = "now-1h"
    refresh: str = "30s"

    def panels(self) -> list[Panel]:
        """All of them."""
        return [panel for row in self.rows for panel in row.panels]


def stat(
    title: str,
    description: str,
    unit: str,
    query: Query,
    steps: tuple[float, float] | None = None,
    decimals: int | None = None,
) -> Panel:
    """One figure."""
    return Panel("stat", title, description, unit, (query,), steps=steps, decimals=decimals)


def lines(title: str, description: str, unit: str, *queries: Query, width: int = HALF) -> Panel:
    """Lines over time."""
    return Panel("lines", title, description, unit, queries, width)


def columns(
    title: str, description: str, unit: str, query: Query, width: int = HALF, colours: Mapping[str, str] | None = None
) -> Panel:
    """Stacked columns over time."""
    return Panel("columns", title, description, unit, (query,), width, colours=colours or {})


def ranking(title: str, description: str, unit: str, query: Query, width: int = THIRD) -> Panel:
    """Bars by name, the largest first."""
    return Panel("ranking", title, description, unit, (query,), width)


def table(
    title: str,
    description: str,
    unit: str,
    query: Query,
    width: int = HALF,
    units: Mapping[str, str] | None = None,
) -> Panel:
    """A table."""
    return Panel("table", title, description, unit, (query,), width, units=units or {})
