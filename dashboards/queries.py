"""The queries of panels, run as Grafana runs them: macros and variables expanded, sent to ClickHouse and Prometheus."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from clickhouse_connect.driver.client import Client

from dashboards.model import SQL, Dashboard, Panel, PromQL, Query, Variable

#: Points that a panel is wide enough for, at most.
_POINTS = 60
#: What Grafana makes of an interval: one of these, in seconds.
_ROUND_S = (1, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 10_800, 43_200, 86_400, 604_800, 2_592_000)
#: Four times between two questions of Prometheus: the least over which a rate says something.
_LEAST_RATE_S = 60
_TIMEOUT_S = 10.0
_MACRO = re.compile(r"\$__(\w+)(?:\((\w+)\))?")
_SINCE = re.compile(r"now-(\d+)([mhdy])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "y": timedelta(days=365)}


class NoAnswer(Exception):
    """A source does not answer, or refuses a query; the text says which and why."""


class Period(NamedTuple):
    """From when to when, and how long each interval is."""

    start: datetime
    end: datetime
    interval_s: int


class Answer(NamedTuple):
    """Rows of named columns. Of a series the first column is the time, and of PromQL the second is the series' name."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def period_of(dashboard: Dashboard, end: datetime | None = None, since: str | None = None) -> Period:
    """What the dashboard shows at first, or since another time such as `now-1y`."""
    found = _SINCE.fullmatch(since or dashboard.since)
    if found is None:
        raise ValueError(f"{since or dashboard.since} is no time such as now-30d")
    end = end or datetime.now(UTC)
    start = end - int(found[1]) * _UNITS[found[2]]
    least_s = (end - start).total_seconds() / _POINTS
    return Period(start, end, next((each for each in _ROUND_S if each >= least_s), _ROUND_S[-1]))


def expanded(query: Query, period: Period, values: Mapping[str, str]) -> str:
    """The query as Grafana, or its plugin for ClickHouse, sends it. Raises ValueError for what is not defined."""
    text = query.text
    # Longer names first: `$service` is the beginning of `$services`.
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(f"${{{name}}}", values[name]).replace(f"${name}", values[name])
    macros = _MACROS if isinstance(query, SQL) else _PROMQL_MACROS

    def replaced(found: re.Match[str]) -> str:
        if found[1] not in macros:
            raise ValueError(f"there is no macro {found[0]}")
        return macros[found[1]](period, found[2] or "")

    text = _MACRO.sub(replaced, text)
    if "$" in text.replace("${1}", ""):
        raise ValueError(f"a variable is not defined: {text}")
    return text


def _moment(at: datetime) -> str:
    return f"toDateTime({int(at.timestamp())})"


def _between(column: str, start: str, end: str) -> str:
    return f"{column} >= {start} AND {column} <= {end}"


_Macros = Mapping[str, Callable[[Period, str], str]]
# As https://github.com/grafana/clickhouse-datasource has them, in pkg/macros.
_MACROS: _Macros = {
    "timeFilter": lambda period, column: _between(column, _moment(period.start), _moment(period.end)),
    "dateFilter": lambda period, column: _between(
        column, f"toDate('{period.start:%Y-%m-%d}')", f"toDate('{period.end:%Y-%m-%d}')"
    ),
    "timeInterval": lambda period, column: (
        f"toStartOfInterval(toDateTime({column}), INTERVAL {period.interval_s} second)"
    ),
}
_PROMQL_MACROS: _Macros = {"rate_interval": lambda period, _: f"{max(period.interval_s, _LEAST_RATE_S)}s"}


@dataclass(frozen=True)
class Sources:
    """Where the figures are: a client of ClickHouse, and the address of Prometheus."""

    clickhouse: Client
    prometheus: str

    def values(self, dashboard: Dashboard, period: Period) -> dict[str, str]:
        """By name what is chosen at first: all, or what its query gives first. Raises NoAnswer."""
        values: dict[str, str] = {}
        for variable in dashboard.variables:
            values[variable.name] = self._first(variable, period, values)
        return values

    def ask(self, query: Query, period: Period, values: Mapping[str, str]) -> Answer:
        """What the query gives. Raises NoAnswer, and what ClickHouse raises."""
        text = expanded(query, period, values)
        if isinstance(query, SQL):
            found = self.clickhouse.query(text)
            return Answer(found.column_names, found.result_rows)
        return _matrix(self._prometheus("query", query=text), query) if query.is_instant else self._over(text, query, period)

    def answers(self, panel: Panel, period: Period, values: Mapping[str, str]) -> list[Answer]:
        """What each of its queries gives. Raises as `ask`."""
        return [self.ask(query, period, values) for query in panel.queries]

    def _over(self, text: str, query: PromQL, period: Period) -> Answer:
        step = {"start": period.start.timestamp(), "end": period.end.timestamp(), "step": period.interval_s}
        return _matrix(self._prometheus("query_range", query=text, **step), query)

    def _first(self, variable: Variable, period: Period, values: Mapping[str, str]) -> str:
        if isinstance(variable.query, PromQL):
            return ".*"
        rows = self.ask(variable.query, period, values).rows
        return str(rows[0][0]) if rows else ""

    def _prometheus(self, path: str, **parameters: Any) -> list[Any]:
        url = f"{self.prometheus}/api/v1/{path}?{urlencode(parameters)}"
        try:
            with urlopen(url, timeout=_TIMEOUT_S) as answer:
                result: list[Any] = json.load(answer)["data"]["result"]
        except HTTPError as error:
            raise NoAnswer(f"Prometheus refuses {parameters['query']}: {error.read().decode(errors='replace')}") from error
        except (URLError, OSError) as error:
            raise NoAnswer(f"Prometheus does not answer at {self.prometheus}: {error}") from error
        return result


def _matrix(result: Sequence[Mapping[str, Any]], query: PromQL) -> Answer:
    rows = [
        (datetime.fromtimestamp(at, UTC), _legend(query.legend, series["metric"]), float(value))
        for series in result
        for at, value in series.get("values") or [series["value"]]
        if value != "NaN"
    ]
    return Answer(("time", "series", "value"), rows)


def _legend(pattern: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), pattern)


def series_of(answer: Answer) -> dict[str, list[tuple[datetime, float]]]:
    """Of an answer over time, its series by name: of a column of text, else of the columns of numbers themselves."""
    found: dict[str, list[tuple[datetime, float]]] = {}
    for time, *rest in answer.rows:
        named = [value for value in rest if isinstance(value, str)]
        for column, value in zip(answer.columns[1:], rest, strict=True):
            if not isinstance(value, str):
                found.setdefault(named[0] if named else column, []).append((time, float(value)))
    return found
