"""The observer, which reads all stores for Prometheus."""

import sys
from importlib.metadata import version

from kernel.settings import OBJECTIVES
from local.layout import Layout, chosen
from local.program import Program, http_get
from local.programs.keep import SETTINGS, urls_of_everything
from local.programs.services import manifests
from local.sources import python_sources


def program(layout: Layout) -> Program:
    """`python -m ops observe`."""
    return Program(
        name="observer",
        version=f"prometheus-client {version('prometheus-client')}",
        port=layout.port_of("observer"),
        command=(sys.executable, "-m", "ops", "observe"),
        environment={
            **layout.environment_for(*SETTINGS, *urls_of_everything()),
            **chosen(OBJECTIVES),
            "MAREA_METRICS_ADDRESS": layout.address("observer"),
        },
        sources=lambda: python_sources("ops.__main__", "ops.observe", *manifests()),
        after=("migrations", "topics", "connect", "redis", "clickhouse"),
        check=lambda: _check(layout),
    )


def _check(layout: Layout) -> None:
    http_get(f"http://{layout.address('observer')}/health/ready", timeout_s=5)
