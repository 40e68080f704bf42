"""The stack in containers, from docker-compose.yml as it is, on an engine of its own: see docs/compose.md.

`./marea check compose` runs this. It needs root, and minutes; the tests build on each other, and the first that fails ends it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from local.compose.containers import containers
from local.layout import ROOT
from tests.compose.engine import FOLDER, Engine
from tests.compose.parts import make_compose, make_standins

FILES = ("-f", "docker-compose.yml", "-f", "tests/compose/override.yml")
EVERYTHING = ("--profile", "full", "--profile", "tools")
#: A container for each image that is built.
BUILT = ("migrations", "demo", "nginx", "kafka", "connect")
IMAGE_MIB = 300
#: Published on loopback: the front door, Grafana, Prometheus.
PUBLISHED = {("127.0.0.1", "8080"), ("127.0.0.1", "3000"), ("127.0.0.1", "9090")}
#: Those that are built by us: nothing of theirs can be written, and none has any rights.
OURS = [each.name for each in containers() if not each.once] + ["nginx", "kafka", "connect"]
COMES_BACK_WITHIN_S = 60


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    assert os.geteuid() == 0, "the engine needs root: run ./marea check compose as root"
    FOLDER.mkdir(parents=True, exist_ok=True)
    make_compose()
    with Engine() as engine:
        make_standins(engine)
        yield engine


@pytest.fixture(scope="module")
def stack(engine: Engine) -> Iterator[Engine]:
    """Up, in a state of its own: no volume, and none of its secrets, is of before."""
    engine.compose(*EVERYTHING, "down", "--volumes", "--remove-orphans")
    engine.compose(*FILES, *EVERYTHING, "build", *BUILT, timeout_s=900)
    engine.docker("image", "prune", "--force")  # those that had these names before
    subprocess.run([ROOT / "deploy" / "compose" / "secrets.sh"], check=True)
    try:
        engine.compose("up", "--detach", "--wait", timeout_s=300)
    except Exception:
        (FOLDER / "stack.log").write_text(engine.compose("logs", "--no-color"))
        raise
    yield engine
    engine.compose(*EVERYTHING, "down", "--volumes")


def pid(stack: Engine, name: str) -> int:
    state: int = stack.inspect(f"marea-{name}-1")["State"]["Pid"]
    return state


@retry(stop=stop_after_delay(COMES_BACK_WITHIN_S), wait=wait_fixed(0.5), retry=retry_if_result(lambda came: not came))
def comes_back(stack: Engine, name: str, was: int) -> bool:
    state = stack.inspect(f"marea-{name}-1")["State"]
    return state["Pid"] not in (0, was) and state["Health"]["Status"] == "healthy"


def kill(stack: Engine, name: str) -> int:
    """SIGKILL from outside of the container, as when it crashes: `docker kill` would say that it is meant to be down."""
    first = pid(stack, name)
    stack.inside("kill", "-KILL", str(first))
    return first


def verified(stack: Engine) -> dict[str, int]:
    said: dict[str, int] = json.loads(stack.compose("run", "--rm", "-T", "ops", "verify", "--json").splitlines()[-1])
    return said


def demo(stack: Engine, orders: int) -> dict[str, dict[str, int]]:
    said = stack.compose("run", "--rm", "-T", "demo", "--orders", str(orders), "--json")
    found: dict[str, dict[str, int]] = json.loads(said.splitlines()[-1])
    return found


def test_everything_serves_once_up_has_returned(stack: Engine) -> None:
    states = [json.loads(line) for line in stack.compose("ps", "--all", "--format", "json").splitlines()]
    assert {each["Service"] for each in states} >= {each.name for each in containers()}
    for each in states:
        if each["State"] == "exited":
            assert each["ExitCode"] == 0, each
        else:
            assert (each["State"], each["Health"]) in {("running", "healthy"), ("running", "")}, each


def test_the_demo_places_orders_and_proves_every_view_and_table(stack: Engine) -> None:
    shown = demo(stack, 200)
    assert shown["orders"]["confirmed"] > 0
    assert shown["verify"]["differences"] == 0


def test_a_worker_and_the_broker_that_are_killed_come_back_and_nothing_is_lost(stack: Engine) -> None:
    killed = {name: kill(stack, name) for name in ("worker-views", "kafka")}
    for name, was in killed.items():
        assert comes_back(stack, name, was)
    demo(stack, 250)
    assert verified(stack)["differences"] == 0


def test_only_what_is_to_be_seen_is_published_and_only_on_loopback(stack: Engine) -> None:
    found = set()
    for line in stack.compose("ps", "--format", "json").splitlines():
        for each in json.loads(line)["Publishers"] or []:
            if each["PublishedPort"]:
                found.add((each["URL"], str(each["PublishedPort"])))
    assert found == PUBLISHED
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/v1/openapi.json').status)"
    assert stack.inside(sys.executable, "-c", ask) == "200\n"


@pytest.mark.parametrize("name", OURS)
def test_ours_can_do_nothing_but_their_work(stack: Engine, name: str) -> None:
    status = stack.docker("exec", f"marea-{name}-1", "cat", "/proc/1/status")
    rights = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert rights["Uid"].split()[0] != "0"
    assert int(rights["CapEff"], 16) == int(rights["CapBnd"], 16) == 0
    assert rights["NoNewPrivs"] == "1"
    assert stack.inspect(f"marea-{name}-1")["HostConfig"]["ReadonlyRootfs"]


@pytest.mark.parametrize("name", [each.name for each in containers() if each.secrets])
def test_a_container_has_the_secrets_that_it_was_given_and_no_other(stack: Engine, name: str) -> None:
    [each] = [each for each in containers() if each.name == name]
    mounted = [Path(mount["Destination"]) for mount in stack.inspect(f"marea-{name}-1")["Mounts"]]
    assert {path.name for path in mounted if path.parent == Path("/run/secrets")} == {*each.secrets}
    assert not any("postgresql://" in said for said in stack.inspect(f"marea-{name}-1")["Config"]["Env"])


def test_the_image_is_small(stack: Engine) -> None:
    sizes = [
        int(json.loads(stack.docker("image", "inspect", image))[0]["Size"])
        for image in (_image(stack, "keep"), "python:3.11.16-slim-bookworm")
    ]
    assert sizes[0] - sizes[1] < IMAGE_MIB << 20


def _image(stack: Engine, name: str) -> str:
    image: str = stack.inspect(f"marea-{name}-1")["Config"]["Image"]
    return image


def test_nothing_is_left_once_it_is_down(stack: Engine) -> None:
    stack.compose(*EVERYTHING, "down", "--volumes")
    assert stack.docker("ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project=marea") == ""
    assert stack.docker("volume", "ls", "--quiet", "--filter", "label=com.docker.compose.project=marea") == ""
    assert stack.docker("network", "ls", "--quiet", "--filter", "label=com.docker.compose.project=marea") == ""
