"""Housekeeping."""

import sys
from importlib.metadata import version

from local.layout import Layout, databases
from local.program import NotReady, Program
from local.programs.services import manifests
from local.sources import python_sources
from ops import chores
from streams.feeds import feeds, needs

_SETTINGS = ("ADMIN_DATABASE_URL", "CONNECT_URL", "KAFKA", "PARTITIONS")


def program(layout: Layout) -> Program:
    """`python -m ops keep`."""
    urls = {setting for feed in feeds() for setting in needs(feed)}
    urls |= {f"{service.upper()}_DATABASE_URL" for service in databases()}
    return Program(
        name="keep",
        version=f"psycopg2 {version('psycopg2-binary')}",
        command=(sys.executable, "-m", "ops", "keep"),
        environment=layout.environment_for(*_SETTINGS, *sorted(urls)),
        sources=lambda: python_sources("ops.__main__", "ops.keep", *manifests()),
        after=("migrations", "topics", "connect", "redis", "clickhouse"),
        check=_check,
    )


def _check() -> None:
    """It has no port of its own: it is at work when it has noted so."""
    if found := [trouble for trouble in chores.look() if trouble.what == "housekeeping"]:
        raise NotReady(found[0].why)
