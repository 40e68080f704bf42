"""Dashboards: each panel says what it answers, asks only for what there is, and Grafana can read all of it."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.services import metrics
from dashboards.every import DASHBOARDS
from dashboards.generate import FOLDER, files
from dashboards.model import SQL, WHOLE, Dashboard, Panel, PromQL, Query, Row, placed
from dashboards.pictures import written
from dashboards.queries import Answer, Period, expanded, period_of, series_of
from local.layout import ROOT

STRICT = ROOT / "tests" / "dashboards"
PROVISIONED = (FOLDER.parent / "provisioning" / "datasources" / "marea.yml").read_text()
END = datetime(2026, 11, 26, 12, tzinfo=UTC)
#: What others measure: Prometheus itself, the exporters, and the JMX of deploy/jmx.
FOREIGN = set(
    "up ALERTS process_cpu_seconds_total process_resident_memory_bytes"
    " pg_stat_activity_count pg_stat_database_xact_commit redis_memory_used_bytes nginx_connections_active"
    " kafka_topic_messagesin_total kafka_broker_bytesin_total kafka_broker_bytesout_total kafka_request_milliseconds"
    " kafka_under_replicated_partitions".split()
)
#: What else is written in lower case in PromQL: clauses with their labels, selectors, ranges and texts.
NO_METRIC = re.compile(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\b(?:by|on|without|group_left)\s*\([^)]*\)|\b(?:bool|or|and|unless)\b')

each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.uid)


def queries(dashboard: Dashboard) -> list[Query]:
    return [query for panel in dashboard.panels() for query in panel.queries]


def values(dashboard: Dashboard) -> dict[str, str]:
    return {variable.name: "100" if variable.name == "minor" else ".*" for variable in dashboard.variables}


def text_of(dashboard: Dashboard, query: Query) -> str:
    return expanded(query, period_of(dashboard, END), values(dashboard))


PROMQL = sorted(
    {text_of(each, query) for each in DASHBOARDS for query in queries(each) if isinstance(query, PromQL)}
)


def datasources(found: Any) -> Iterator[str]:
    """Every UID of a datasource, wherever it is in the JSON."""
    if isinstance(found, list):
        for each in found:
            yield from datasources(each)
    elif isinstance(found, dict):
        for name, value in found.items():
            if name == "datasource":
                yield value["uid"]
            else:
                yield from datasources(value)


def test_the_files_are_what_the_code_says() -> None:
    assert {path.name: path.read_text() for path in FOLDER.glob("*")} == files(), "run python -m dashboards.generate"


def test_links_to_dashboards_hold() -> None:
    uids = ["marea-path", "marea-orders", "marea-sales", "marea-money", "marea-stock", "marea-operations"]
    assert [dashboard.uid for dashboard in DASHBOARDS] == uids


@each_dashboard
def test_a_panel_has_a_title_a_unit_and_words_that_say_what_it_answers(dashboard: Dashboard) -> None:
    panels = dashboard.panels()
    assert len({panel.title for panel in panels}) == len(panels)
    for panel in panels:
        assert panel.title
        assert panel.unit
        assert re.fullmatch(r"[A-Z].{15,}\.", panel.description), panel.title
        assert panel.queries
    read = [each for each in json.loads((FOLDER / f"{dashboard.uid}.json").read_text())["panels"] if each["type"] != "row"]
    said = [(each["title"], each["description"], each["fieldConfig"]["defaults"]["unit"]) for each in read]
    assert said == [(panel.title, panel.description, panel.unit) for panel in panels]


@each_dashboard
def test_panels_fill_the_width_and_none_covers_another(dashboard: Dashboard) -> None:
    taken = [
        (x, y)
        for _, place in placed(dashboard.rows)
        for x in range(place.x, place.x + place.width)
        for y in range(place.y, place.y + place.height)
    ]
    assert len(taken) == len(set(taken))
    assert len(taken) == WHOLE * (max(y for _, y in taken) + 1)


@each_dashboard
def test_datasources_are_named_by_variables_that_stand_on_those_that_are_provisioned(dashboard: Dashboard) -> None:
    read = json.loads((FOLDER / f"{dashboard.uid}.json").read_text())
    variables = {each["name"]: each["current"]["value"] for each in read["templating"]["list"] if each["type"] == "datasource"}
    assert {*datasources(read)} == {f"${{{name}}}" for name in variables}
    assert {*variables.values()} <= set(re.findall(r"uid: (\S+)", PROVISIONED))
    assert "__inputs" not in read


@each_dashboard
def test_what_is_drawn_over_time_has_times_and_nothing_else_has(dashboard: Dashboard) -> None:
    for panel in dashboard.panels():
        for query in panel.queries:
            over_time = panel.kind in {"lines", "columns"}
            if isinstance(query, SQL):
                assert query.is_series == over_time, panel.title
                assert (" AS time" in query.text) == over_time, panel.title
            else:
                assert query.is_instant == (panel.kind in {"ranking", "table"}), panel.title


def test_a_query_asks_only_for_what_is_measured() -> None:
    ours = {f"{metric.name}{end}" for metric in metrics() for end in _endings(metric.kind)}
    for query in PROMQL:
        words = re.findall(r"\b[a-zA-Z_]\w*\b(?!\s*\()", NO_METRIC.sub(" ", query))
        assert words == [word for word in words if word in ours | FOREIGN], query


def _endings(kind: str) -> tuple[str, ...]:
    return ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)


def test_prometheus_can_read_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(PROMQL)]
    path = tmp_path / "rules.yml"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that reads dashboards by Grafana's own schemas."""
    if shutil.which("go") is None:
        pytest.skip("there is no Go to build the check by Grafana's schemas with")
    program = tmp_path_factory.mktemp("strict") / "strict"
    subprocess.run(["go", "build", "-o", program, "."], cwd=STRICT, check=True)
    return program


def faults(strict: Path, *paths: Path) -> str:
    done = subprocess.run([strict, *paths], capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == bool(done.stderr)
    return done.stderr


def test_grafana_can_read_every_file(strict: Path) -> None:
    assert faults(strict, *sorted(FOLDER.glob("*.json"))) == ""


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"gridPos"', '"gridpos"'),
        ('"lineWidth"', '"linewidth"'),
        ('"expr"', '"query"'),
        ('"unit": "s"', '"unit": 1'),
        ('"orientation": "horizontal"', '"orientation": 1'),
    ],
)
def test_a_file_that_grafana_would_not_read_is_refused(strict: Path, tmp_path: Path, right: str, wrong: str) -> None:
    text = (FOLDER / "marea-operations.json").read_text()
    assert right in text
    broken = tmp_path / "broken.json"
    broken.write_text(text.replace(right, wrong, 1))
    assert faults(strict, broken)


@each_dashboard
def test_a_query_has_only_macros_and_variables_that_are_defined(dashboard: Dashboard) -> None:
    for query in [*(variable.query for variable in dashboard.variables), *queries(dashboard)]:
        assert "$" not in text_of(dashboard, query).replace("${1}", "")


def test_macros_are_those_of_grafanas_plugin() -> None:
    period = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), 1_800)
    told = {
        "$__timeFilter(at)": "at >= toDateTime(1767225600) AND at <= toDateTime(1767312000)",
        "$__dateFilter(day)": "day >= toDate('2026-01-01') AND day <= toDate('2026-01-02')",
        "$__timeInterval(at)": "toStartOfInterval(toDateTime(at), INTERVAL 1800 second)",
    }
    assert {text: expanded(SQL(text), period, {}) for text in told} == told


@pytest.mark.parametrize("text", ["SELECT $__timeFiltre(at)", "SELECT ${unknown}"])
def test_what_is_not_defined_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"\$"):
        expanded(SQL(text), period_of(DASHBOARDS[0], END), {})


def test_what_does_not_fit_beside_the_others_is_below_them() -> None:
    panel = Panel("lines", "A", "", "s", (), width=12)
    row = Row("R", [panel, panel, panel])
    assert [(place.x, place.y) for _, place in placed([row, row])] == [(0, 0), (0, 1), (12, 1), (0, 9), (0, 17), (0, 18), (12, 18), (0, 26)]


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.0421, "s", "42.1 ms"),
        (2_844.0, "s", "47.4 min"),
        (0, "s", "0"),
        (1, "percentunit", "100%"),
        (0.9312, "percentunit", "93.1%"),
        (3 * 2**20, "bytes", "3 MiB"),
        (1_234_567, "locale", "1,234,567"),
        (64.6914, "locale", "64.69"),
        (12.5, "reqps", "12.5/s"),
    ],
)
def test_a_figure_is_written_in_its_unit(value: float, unit: str, said: str) -> None:
    assert written(value, unit) == said


@pytest.mark.parametrize(
    ("dashboard", "since", "interval_s"), [(DASHBOARDS[0], None, 15), (DASHBOARDS[2], None, 43_200), (DASHBOARDS[2], "now-1y", 604_800)]
)
def test_an_interval_is_round_and_no_more_than_fit_are_drawn(dashboard: Dashboard, since: str | None, interval_s: int) -> None:
    assert period_of(dashboard, END, since).interval_s == interval_s


def test_series_are_named_by_a_column_of_text_or_by_their_columns() -> None:
    by_text = Answer(("time", "status", "orders"), [(END, "placed", 2), (END, "confirmed", 1)])
    assert series_of(by_text) == {"placed": [(END, 2.0)], "confirmed": [(END, 1.0)]}
    by_column = Answer(("time", "half", "most"), [(END, 1, 3)])
    assert series_of(by_column) == {"half": [(END, 1.0)], "most": [(END, 3.0)]}
