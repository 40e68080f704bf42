"""ClickHouse: chDB, which is its engine, behind its HTTP protocol."""

import sys
from importlib.metadata import version
from pathlib import Path

from local.layout import Layout
from local.program import Program, http_get
from local.sources import python_sources


def program(layout: Layout) -> Program:
    """One server."""
    data = layout.data("clickhouse")
    return Program(
        name="clickhouse",
        version=f"chDB {version('chdb-core')}",
        port=layout.port_of("clickhouse"),
        command=(sys.executable, "-m", "local.chdb_server", str(data)),
        environment=layout.environment_for("CLICKHOUSE_URL"),
        files={curl_settings(layout): _curl_settings(layout)},
        prepare=lambda: layout.data("clickhouse").mkdir(mode=0o700, exist_ok=True),
        sources=lambda: python_sources("local.chdb_server"),
        check=lambda: _check(layout),
    )


def curl_settings(layout: Layout) -> Path:
    """Address and password for `curl -K`, so that neither has to be shown."""
    return layout.run / "clickhouse.curl"


def _curl_settings(layout: Layout) -> str:
    return (
        f'url = "http://{layout.address("clickhouse")}/?database=marea"\n'
        f'user = "marea:{layout.secrets["clickhouse"]}"\n'
    )


def _check(layout: Layout) -> None:
    http_get(f"http://{layout.address('clickhouse')}/ping")
