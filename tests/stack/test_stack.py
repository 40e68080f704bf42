"""The stack itself: what `up`, `status` and `down` promise."""

import re
import socket
import subprocess
import sys

import pytest

from local.layout import HOST, PORTS, ROOT, Layout, databases
from local.program import PortTaken, check_port_free
from local.stack import Stack
from tests.stack.shop import eventually


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


def test_stacks_side_by_side_share_no_port() -> None:
    one, other = ({Layout(port).port_of(name) for name in ("nginx", "supervisor")} for port in (17000, 17100))
    assert max(one) < min(other)


def test_status_is_one_json_object(stack: Stack) -> None:
    command = [sys.executable, "-m", "cli", "status", "--json", "--port", str(stack.layout.port)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert re.fullmatch(r"\{.*\}\n", said)
