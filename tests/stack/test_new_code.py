"""What `up` does when there is code that was not there: it is added to a copy of this one, which has a stack of its own.

Other stacks run from the code that is tested, and may start a program of it at any time.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient

from api.services import services
from kernel import settings
from local import layout as layouts
from local.layout import PORTS, ROOT, STATE, Layout
from local.supervisor import Supervisor
from ops.databases import admin
from streams.engine.reader import Views
from tests.conftest import left_behind
from tests.loyalty import WITH_CALLS, WITHOUT_DATABASE, write_loyalty, write_tables
from tests.stack.processes import differ, pids
from tests.stack.shop import Shop, eventually

#: Made of every manifest and every schema.
MADE_OF_ALL = {"keep", "worker-1", *(each.name for each in services())}
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


@pytest.fixture(scope="module", autouse=True)
def nothing_stays_parked() -> None:
    """This process's own stack is not needed here."""


class Checkout(NamedTuple):
    """A copy of the code, and the supervisor of the stack that runs from it."""

    root: Path
    supervisor: Supervisor

    def marea(self, command: str) -> None:
        """As from a shell in its folder."""
        environment = {**os.environ, "PYTHONPATH": str(self.root)}
        subprocess.run([sys.executable, "-m", "cli", command], check=True, cwd=self.root, env=environment)


@pytest.fixture(scope="module")
def checkout(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """Its stack is up, and its settings are in this process's environment."""
    root = tmp_path_factory.mktemp("checkout") / "marea"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(".*"))
    state = root / STATE.name
    state.mkdir()
    (state / "jars").symlink_to(STATE / "jars")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layouts, "STATE", state)
        layout = Layout(port + PORTS)
        for name, value in layout.environment.items():
            patch.setenv(name, value)
        checkout = Checkout(root, Supervisor(layout))
        try:
            checkout.marea("up")
            yield checkout
        finally:
            checkout.marea("reset")
            assert not left_behind(layout), "processes that have outlived the stack"


def test_a_view_a_service_and_a_schema_are_there_after_up_and_whoever_does_not_need_them_stays(
    checkout: Checkout,
) -> None:
    sku = Shop().stocked("named", 1)
    before, schemas = pids(checkout.supervisor), checkout.root / "schemas" / "loyalty"
    (checkout.root / "streams" / "views" / "catalog" / "names.py").write_text(NEW_VIEW)
    write_loyalty(checkout.root / "api", WITHOUT_DATABASE)
    schemas.mkdir()
    (schemas / "PointsGiven.avsc").write_text(json.dumps(NEW_SCHEMA))
    checkout.marea("up")
    during = pids(checkout.supervisor)
    assert differ(before, during) == {"loyalty", "nginx", *MADE_OF_ALL}
    views = Views(settings.redis_url(), settings.partitions())
    eventually(lambda: views.get("names", sku))
    assert Shop().get("/points/ada").json() == {"customer": "ada", "points": 0}
    assert "/v1/points/{customer}" in Shop().get("/openapi.json").json()["paths"]
    with SchemaRegistryClient({"url": settings.registry_url()}) as registry:
        assert "marea.points.PointsGiven" in registry.get_subjects()

    shutil.rmtree(checkout.root / "api" / "loyalty")
    shutil.rmtree(schemas)
    checkout.marea("up")
    after = pids(checkout.supervisor)
    assert after.keys() == before.keys()
    assert differ(during, after) == {"loyalty", "nginx", *MADE_OF_ALL}
    assert Shop().get("/points/ada").status_code == 404
    assert "/v1/points/{customer}" not in Shop().get("/openapi.json").json()["paths"]


def given() -> dict[str, tuple[int, int]]:
    """By order, the points that were given for it, and how often they were."""
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute("SELECT order_id, given, times FROM loyalty.points")
        return {order_id: (points, times) for order_id, points, times in cursor.fetchall()}


def test_a_reaction_that_starts_now_handles_nothing_from_before_and_all_after_and_its_calls_are_made_once(
    checkout: Checkout,
) -> None:
    shop = Shop()
    sku = shop.stocked("gift", 1_000_000)
    for _ in range(20):
        assert shop.order([(sku, 1)]).ok
    write_loyalty(checkout.root / "api", WITH_CALLS)
    write_tables(checkout.root / "sql" / "postgres")
    checkout.marea("up")
    assert given() == {}
    after = []
    for number in range(200):
        after.append(shop.order([(sku, 1)]).json()["id"])
        if number in (40, 150):
            # The one before it may have died a moment ago.
            os.kill(eventually(lambda: pids(checkout.supervisor)["worker-1"]), signal.SIGKILL)
    eventually(lambda: given() == dict.fromkeys(after, (7, 1)), patience_s=60)
