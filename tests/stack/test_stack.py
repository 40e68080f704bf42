"""The stack itself: what `up`, `status` and `down` promise."""

import os
import pwd
import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import requests
import yaml

from kernel import settings
from kernel.kafka import describe_groups
from local.layout import HOST, PORTS, ROOT, Layout, databases
from local.processes import children, tree
from local.program import PortTaken, check_port_free
from local.stack import Stack
from local.status import describe
from streams.feeds import feeds
from tests.conftest import WORKERS
from tests.stack.processes import differ, pids
from tests.stack.shop import Shop, eventually


@pytest.mark.parametrize("name", ["migrations", "topics", "starts", "schemas", "relay"])
def test_what_prepares_a_stack_needs_no_setting_that_compose_does_not_give_it(stack: Stack, name: str) -> None:
    prepares = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][name]
    given = {setting.removesuffix("_FILE") for setting in prepares["environment"]}
    settings_ = {setting: stack.layout.environment[setting] for setting in given}
    command = [sys.executable, *prepares["command"].split()[1:]]
    done = subprocess.run(
        command, cwd=ROOT, env={"PATH": os.environ["PATH"], **settings_}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_up_leaves_what_runs_as_it_is(stack: Stack) -> None:
    before = stack.supervisor.states()
    stack.up()
    after = stack.supervisor.states()
    assert {name: state.pid for name, state in after.items()} == {
        name: state.pid for name, state in before.items()
    }
    assert {state.state for state in after.values()} == {"RUNNING"}


@pytest.mark.parametrize("name", ["catalog", "nginx", "redis"])
def test_a_program_that_dies_is_started_again(stack: Stack, name: str) -> None:
    before = stack.supervisor.states()[name].pid
    stack.kill(name)
    eventually(lambda: stack.supervisor.states()[name].pid not in (before, None))
    stack.wait_ready(name)


@pytest.mark.parametrize("name", ["catalog", "nginx", "postgresql"])
def test_a_program_whose_first_process_dies_is_back_on_its_port_and_its_children_are_gone(
    stack: Stack, name: str
) -> None:
    pid = stack.supervisor.states()[name].pid
    assert pid
    before = eventually(lambda: tree(pid) if len(tree(pid)) > 1 else None)
    restarts = stack.supervisor.restarts()[name]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: stack.supervisor.states()[name].pid not in (pid, None))
    assert not [each for each in before if Path(f"/proc/{each}").exists()]
    stack.wait_ready(name, timeout_s=30)
    assert stack.supervisor.restarts()[name] == restarts + 1


def test_the_registry_answers_once_postgresql_is_back(stack: Stack) -> None:
    """None of its connections is one that PostgreSQL has forgotten."""
    stack.kill("postgresql")
    stack.wait_ready("postgresql")
    subjects = f"{settings.registry_url()}/subjects"
    assert {requests.get(subjects, timeout=30).status_code for _ in range(40)} == {200}


def test_status_tells_a_program_that_serves_from_one_whose_process_only_runs(stack: Stack) -> None:
    stack.kill("redis", signal.SIGSTOP)
    try:
        said = describe(stack)["programs"]["redis"]
    finally:
        stack.kill("redis", signal.SIGCONT)
    assert said["state"] == "NOT READY"
    assert "Timeout" in said["reason"]
    stack.wait_ready("redis")
    assert describe(stack)["programs"]["redis"]["state"] == "RUNNING"


def test_front_doors_workers_are_nobody_in_particular(stack: Stack) -> None:
    pid = stack.supervisor.states()["nginx"].pid
    assert pid
    [worker] = children(pid)
    user = Path(f"/proc/{worker}").stat().st_uid
    assert user == (pwd.getpwnam("www-data").pw_uid if os.geteuid() == 0 else os.geteuid())
    large = {"sku": "x" * 3_000_000}  # more than it keeps in memory
    assert requests.post(f"{Shop().url}/v1/products", json=large, timeout=30).status_code in (400, 413, 422)


def marea(stack: Stack, *arguments: str) -> None:
    """As from a shell: this process imported the code before it changed."""
    command = [sys.executable, "-m", "cli", *arguments, "--port", str(stack.layout.port)]
    subprocess.run(command, check=True, cwd=ROOT)


def test_a_restart_of_one_program_leaves_all_others_as_they_are(stack: Stack) -> None:
    before = pids(stack.supervisor)
    marea(stack, "restart", "catalog")
    assert differ(before, pids(stack.supervisor)) == {"catalog"}
    assert Shop().get("/products/unheard-of").status_code == 404, "it serves"


def test_up_starts_again_just_what_a_changed_setting_is_for(stack: Stack) -> None:
    before = pids(stack.supervisor)
    changed, catalog = Stack(stack.layout), stack.programs["catalog"]
    environment = {**catalog.environment, "MAREA_X": "1"}
    changed.programs = {**stack.programs, "catalog": replace(catalog, environment=environment)}
    changed.up()
    during = pids(stack.supervisor)
    assert differ(before, during) == {"catalog"}
    stack.up()
    assert differ(during, pids(stack.supervisor)) == {"catalog"}


def test_everything_listens_on_loopback_only(stack: Stack) -> None:
    ports = range(stack.layout.port, stack.layout.port + PORTS)
    listening = subprocess.run(
        ["ss", "-Hltn"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    addresses = [line.split()[3] for line in listening]
    ours = [address for address in addresses if int(address.rpartition(":")[2]) in ports]
    assert ours
    assert {re.sub(r":\d+$", "", address) for address in ours} <= {HOST, f"[::ffff:{HOST}]"}


def test_a_taken_port_is_named_with_who_has_it() -> None:
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"a program needs port {port}.*\(process \d+, .*--port"):
            check_port_free("a program", port)


def test_passwords_are_for_their_owner_only(stack: Stack) -> None:
    assert (stack.layout.folder / "secrets.json").stat().st_mode & 0o077 == 0
    assert stack.layout.folder.stat().st_mode & 0o077 == 0


def test_a_service_gets_its_own_database_and_no_other(stack: Stack) -> None:
    for service in databases():
        found = [name for name in stack.programs[service].environment if name.endswith("_DATABASE_URL")]
        assert found == [f"MAREA_{service.upper()}_DATABASE_URL"]


ONE_WORKER = (sys.executable, "-m", "faust", "-A", "streams.app", "worker", "-l", "warn", "--without-web")


def sizes() -> dict[str, int]:
    """How many workers each feed's group has."""
    groups = {f"marea.{feed}": feed for feed in feeds()}
    found = describe_groups(settings.kafka(), list(groups), timeout_s=10)
    return {feed: len(found[group].members) for group, feed in groups.items()}


def test_a_worker_of_one_feed_joins_its_group_and_no_other_and_needs_no_other_sinks_settings(stack: Stack) -> None:
    needed = stack.layout.environment_for("KAFKA", "REGISTRY_URL", "PARTITIONS", "REDIS_URL")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MAREA_")}
    environment = {**ours, **needed, "MAREA_FEEDS": "views"}
    before = dict.fromkeys(feeds(), WORKERS)
    eventually(lambda: sizes() == before)
    with subprocess.Popen(
        ONE_WORKER, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as worker:
        try:
            eventually(lambda: worker.poll() is not None or sizes() == {**before, "views": WORKERS + 1})
            ended = worker.poll()
        finally:
            worker.terminate()
            said, _ = worker.communicate(timeout=60)
    assert ended is None, said
    assert "tries again" not in said, "it lacks a setting"
    eventually(lambda: sizes() == before)


def test_stacks_side_by_side_share_no_port() -> None:
    one, other = ({Layout(port).port_of(name) for name in ("nginx", "supervisor")} for port in (17000, 17100))
    assert max(one) < min(other)


def test_status_is_one_json_object(stack: Stack) -> None:
    command = [sys.executable, "-m", "cli", "status", "--json", "--port", str(stack.layout.port)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert re.fullmatch(r"\{.*\}\n", said)
