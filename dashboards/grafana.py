"""Grafana's JSON of a dashboard. What it has to be is checked against Grafana's own schemas: see tests/dashboards."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dashboards.model import SQL, Dashboard, Kind, Panel, PromQL, Query, Row, Variable, placed

Json = dict[str, Any]

#: Datasources by the kind of query; panels name only the variables, which stand on these UIDs.
_PROMETHEUS = {"type": "prometheus", "uid": "${prometheus}"}
_CLICKHOUSE = {"type": "grafana-clickhouse-datasource", "uid": "${clickhouse}"}
_TYPES: Mapping[Kind, str] = {
    "stat": "stat",
    "lines": "timeseries",
    "columns": "timeseries",
    "ranking": "barchart",
    "table": "table",
}
_LEGEND = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
_SCHEMA_VERSION = 41


def as_json(dashboard: Dashboard) -> Json:
    """The whole file."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["marea"],
        "editable": False,
        "graphTooltip": 1,
        "schemaVersion": _SCHEMA_VERSION,
        "time": {"from": dashboard.since, "to": "now"},
        "timezone": "browser",
        "refresh": dashboard.refresh,
        "annotations": {"list": []},
        "links": [_links()],
        "templating": {"list": [*_datasources(dashboard), *map(_variable, dashboard.variables)]},
        "panels": list(_panels(dashboard.rows)),
    }


def _links() -> Json:
    """From each dashboard to the others, at the same time."""
    return {
        "title": "Marea",
        "type": "dashboards",
        "tags": ["marea"],
        "asDropdown": False,
        "icon": "external link",
        "includeVars": False,
        "keepTime": True,
        "targetBlank": False,
        "tooltip": "",
        "url": "",
    }


def _datasources(dashboard: Dashboard) -> Iterator[Json]:
    queries = [query for panel in dashboard.panels() for query in panel.queries]
    queries += [variable.query for variable in dashboard.variables]
    for kind, name, uid, label in (
        (PromQL, "prometheus", "marea-prometheus", "Marea Prometheus"),
        (SQL, "clickhouse", "marea-clickhouse", "Marea ClickHouse"),
    ):
        if any(isinstance(query, kind) for query in queries):
            plugin = _PROMETHEUS["type"] if kind is PromQL else _CLICKHOUSE["type"]
            yield {
                "type": "datasource",
                "name": name,
                "label": label,
                "query": plugin,
                "current": {"text": label, "value": uid},
                "refresh": 1,
                "regex": "",
                "multi": False,
                "includeAll": False,
                "hide": 2,
            }


def _variable(variable: Variable) -> Json:
    is_sql = isinstance(variable.query, SQL)
    asked: Json = {"query": variable.query.text, "refId": variable.name}
    if is_sql:
        asked = {"rawSql": variable.query.text, "editorType": "sql", "queryType": "table", "refId": variable.name}
    chosen: Json = {"text": ["All"], "value": ["$__all"]} if variable.is_multiple else {"text": "", "value": ""}
    return {
        "type": "query",
        "name": variable.name,
        "label": variable.label,
        "datasource": _CLICKHOUSE if is_sql else _PROMETHEUS,
        "query": asked,
        "current": chosen,
        "refresh": 2,
        "regex": "",
        "multi": variable.is_multiple,
        "includeAll": variable.is_multiple,
        "hide": 2 if variable.is_hidden else 0,
    }


def _panels(rows: Sequence[Row]) -> Iterator[Json]:
    for number, (shown, place) in enumerate(placed(rows), 1):
        made = {"type": "row", "title": shown.title, "collapsed": False, "panels": []} if isinstance(shown, Row) else _panel(shown)
        yield {"id": number, **made, "gridPos": {"x": place.x, "y": place.y, "w": place.width, "h": place.height}}


def _panel(panel: Panel) -> Json:
    [first, *_] = panel.queries
    return {
        "type": _TYPES[panel.kind],
        "title": panel.title,
        "description": panel.description,
        "datasource": _datasource(first),
        "targets": [_target(panel.kind, *each) for each in zip("ABCDEF", panel.queries, strict=False)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": list(_overrides(panel))},
        "options": _options(panel),
        **_transformations(panel),
    }


def _datasource(query: Query) -> Json:
    return dict(_CLICKHOUSE if isinstance(query, SQL) else _PROMETHEUS)


def _target(kind: Kind, ref: str, query: Query) -> Json:
    target: Json = {"refId": ref, "datasource": _datasource(query)}
    if isinstance(query, SQL):
        kinds = {"format": 0, "queryType": "timeSeries"} if query.is_series else {"format": 1, "queryType": "table"}
        return target | {"editorType": "sql", "rawSql": query.text, **kinds}
    return target | {
        "editorMode": "code",
        "expr": query.text,
        "legendFormat": query.legend,
        "instant": query.is_instant,
        "range": not query.is_instant,
        "format": "table" if kind in {"table", "ranking"} else "time_series",
    }


def _defaults(panel: Panel) -> Json:
    defaults: Json = {"unit": panel.unit}
    if panel.decimals is not None:
        defaults["decimals"] = panel.decimals
    if panel.kind == "stat":
        defaults |= {"color": {"mode": "thresholds"}, "thresholds": _thresholds(panel.steps)}
    elif panel.kind != "table":
        defaults |= {"color": {"mode": "palette-classic"}, "custom": _drawn(panel.kind), "min": 0}
    return defaults


def _thresholds(steps: tuple[float, float] | None) -> Json:
    """Green, then yellow and red from the steps on; when less is worse, green is above the first."""
    if steps is None:
        return {"mode": "absolute", "steps": [{"color": "blue", "value": None}]}
    first, second = steps
    colours = ("green", "yellow", "red")
    if second < first:
        colours, first, second = ("red", "yellow", "green"), second, first
    values = (None, first, second)
    return {
        "mode": "absolute",
        "steps": [{"color": colour, "value": value} for colour, value in zip(colours, values, strict=True)],
    }


def _drawn(kind: Kind) -> Json:
    if kind == "lines":
        return {"drawStyle": "line", "lineWidth": 2, "fillOpacity": 10, "showPoints": "auto", "spanNulls": True}
    if kind == "columns":
        return {"drawStyle": "bars", "lineWidth": 0, "fillOpacity": 80, "stacking": {"mode": "normal", "group": "A"}}
    return {"fillOpacity": 80, "lineWidth": 0}


def _overrides(panel: Panel) -> Iterator[Json]:
    for column, unit in panel.units.items():
        yield _override(column, {"id": "unit", "value": unit})
    for series, colour in panel.colours.items():
        yield _override(series, {"id": "color", "value": {"mode": "fixed", "fixedColor": colour}})


def _override(name: str, set_: Json) -> Json:
    return {"matcher": {"id": "byName", "options": name}, "properties": [set_]}


def _options(panel: Panel) -> Json:
    tooltip = {"mode": "multi", "sort": "desc"}
    match panel.kind:
        case "stat":
            reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
            return {
                "reduceOptions": reduced,
                "colorMode": "value",
                "graphMode": "none",
                "textMode": "value",
                "justifyMode": "auto",
                "orientation": "auto",
                "wideLayout": True,
                "showPercentChange": False,
                "percentChangeColorMode": "standard",
            }
        case "table":
            return {"showHeader": True, "frameIndex": 0}
        case "ranking":
            return {
                "orientation": "horizontal",
                "showValue": "auto",
                "stacking": "none",
                "groupWidth": 0.7,
                "barWidth": 0.9,
                "fullHighlight": False,
                "xTickLabelRotation": 0,
                "xTickLabelMaxLength": 24,
                "legend": _LEGEND | {"showLegend": False},
                "tooltip": tooltip,
            }
    return {"legend": _LEGEND, "tooltip": tooltip}


def _transformations(panel: Panel) -> Json:
    """Prometheus' tables have the time of each value, which says nothing of a value of now."""
    if panel.kind in {"table", "ranking"} and isinstance(panel.queries[0], PromQL):
        return {"transformations": [{"id": "organize", "options": {"excludeByName": {"Time": True}}}]}
    return {}
