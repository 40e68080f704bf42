"""What `up` does when there is code that was not there: it is added to a copy of this one, which others run from."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient

from api.services import services
from kernel import settings
from local.layout import ROOT, STATE
from local.stack import Stack
from streams.engine.reader import Views
from tests.loyalty import WITHOUT_DATABASE, write_loyalty
from tests.stack.processes import differ, pids
from tests.stack.shop import Shop, eventually

#: Made of every manifest and every schema.
MADE_OF_ALL = {"keep", "worker-1", "worker-2", *(each.name for each in services())}
NEW_VIEW = '''"""Names of products, for a test."""

from collections.abc import Iterable
from typing import Any

TOPIC = "marea.product"


def fold(row: Any, event: Any) -> Any:
    return {"name": event.data["name"]} if "name" in event.data else row


def expected(states: Iterable[Any]) -> Iterable[Any]:
    return ((key, {"name": state["name"]}) for key, state in states)
'''
NEW_SCHEMA = {
    "type": "record",
    "name": "PointsGiven",
    "namespace": "marea.points",
    "fields": [{"name": "points", "type": "long"}],
}


@pytest.fixture(scope="module")
def checkout(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the code, and the same stack running from it."""
    copy = tmp_path_factory.mktemp("checkout") / "marea"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*"))
    (copy / STATE.name).symlink_to(STATE)
    stack.down()
    try:
        marea(copy, "up")
        yield copy
        marea(copy, "down")
    finally:
        stack.up()


def marea(checkout: Path, command: str) -> None:
    """As from a shell in that folder."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    subprocess.run([sys.executable, "-m", "cli", command], check=True, cwd=checkout, env=environment)


def test_a_view_that_was_added_is_filled_after_up_and_whoever_does_not_need_it_stays(
    stack: Stack, checkout: Path
) -> None:
    sku = Shop().stocked("named", 1)
    before = pids(stack)
    (checkout / "streams" / "views" / "catalog" / "names.py").write_text(NEW_VIEW)
    marea(checkout, "up")
    assert differ(before, pids(stack)) == MADE_OF_ALL
    views = Views(settings.redis_url(), settings.partitions())
    eventually(lambda: views.get("names", sku))


def test_a_service_and_a_schema_that_were_added_are_there_after_up_and_whoever_does_not_need_them_stays(
    stack: Stack, checkout: Path
) -> None:
    before, schemas = pids(stack), checkout / "schemas" / "loyalty"
    write_loyalty(checkout / "api", WITHOUT_DATABASE)
    schemas.mkdir()
    (schemas / "PointsGiven.avsc").write_text(json.dumps(NEW_SCHEMA))
    marea(checkout, "up")
    during = pids(stack)
    assert differ(before, during) == {"loyalty", "nginx", *MADE_OF_ALL}
    assert Shop().get("/points/ada").json() == {"customer": "ada", "points": 0}
    assert "/v1/points/{customer}" in Shop().get("/openapi.json").json()["paths"]
    with SchemaRegistryClient({"url": settings.registry_url()}) as registry:
        assert "marea.points.PointsGiven" in registry.get_subjects()

    shutil.rmtree(checkout / "api" / "loyalty")
    shutil.rmtree(schemas)
    marea(checkout, "up")
    after = pids(stack)
    assert after.keys() == before.keys()
    assert differ(during, after) == {"loyalty", "nginx", *MADE_OF_ALL}
    assert Shop().get("/points/ada").status_code == 404
    assert "/v1/points/{customer}" not in Shop().get("/openapi.json").json()["paths"]
