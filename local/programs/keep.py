"""Housekeeping."""

import sys
from importlib.metadata import version

from local.layout import Layout, databases
from local.program import NotReady, Program
from local.programs.services import manifests
from local.sources import python_sources
from ops import chores
from streams.feeds import feeds, sink_of

#: Of whoever looks after everything.
SETTINGS = ("ADMIN_DATABASE_URL", "CONNECT_URL", "KAFKA", "PARTITIONS")


def program(layout: Layout) -> Program:
    """`python -m ops keep`."""
    return Program(
        name="keep",
        version=f"psycopg2 {version('psycopg2-binary')}",
        command=(sys.executable, "-m", "ops", "keep"),
        port=layout.port_of("keep"),
        environment={
            **layout.environment_for(*SETTINGS, *urls_of_everything()),
            "MAREA_METRICS_ADDRESS": layout.address("keep"),
        },
        sources=lambda: python_sources("ops.__main__", "ops.keep", *manifests()),
        after=("migrations", "topics", "connect", "redis", "clickhouse"),
        check=_check,
    )


def urls_of_everything() -> list[str]:
    """The settings of all sinks and databases, for those who look after all of them."""
    sinks = {sink_of(feed) for feed in feeds()}
    return sorted(sinks | {f"{service.upper()}_DATABASE_URL" for service in databases()})


def _check() -> None:
    """It is at work when it has noted so."""
    if found := [trouble for trouble in chores.look() if trouble.what == "housekeeping"]:
        raise NotReady(found[0].why)
