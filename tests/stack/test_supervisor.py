"""The supervisor with small programs: what dies is started again, and leaves nobody behind."""

import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from local import layout as layouts
from local.layout import HOST, Layout
from local.processes import tree
from local.program import Program
from local.supervisor import Supervisor
from tests.stack.shop import eventually

#: Like PostgreSQL's backends, the child leads a session of its own; like nobody's, it can't be asked to end.
PARENT = """
setsid sh -c 'trap "" TERM; while :; do sleep 1; done' &
exec sleep 1000
"""


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setattr(layouts, "STATE", tmp_path)
    with socket.create_server((HOST, 0)) as probe:
        free = probe.getsockname()[1]
    return Layout(free - Layout(layouts.DEFAULT_PORT).port_of("supervisor") + layouts.DEFAULT_PORT)


@pytest.fixture
def program(layout: Layout) -> Program:
    script = layout.folder / "parent.sh"
    return Program(
        name="parent", version="1", command=("sh", str(script)), check=lambda: None, files={script: PARENT}
    )


@pytest.fixture
def supervisor(layout: Layout, program: Program) -> Iterator[Supervisor]:
    """One that runs the program."""
    supervisor = Supervisor(layout)
    supervisor.ensure([program])
    program.make_ready()
    try:
        supervisor.start(program.name)
        yield supervisor
    finally:
        if supervisor.is_running():
            supervisor.shutdown()
        supervisor.await_end()


def family(supervisor: Supervisor) -> list[int]:
    """The program's process and its descendants, once they are there."""

    def found() -> list[int] | None:
        pid = supervisor.states()["parent"].pid
        processes = tree(pid) if pid else []
        return processes if len(processes) > 1 else None

    processes: list[int] = eventually(found)
    return processes


def test_children_of_a_program_that_was_killed_are_gone_before_it_is_started_again(
    supervisor: Supervisor,
) -> None:
    before = family(supervisor)
    eventually(lambda: supervisor.states()["parent"].state == "RUNNING")
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: supervisor.states()["parent"].pid not in (None, before[0]))
    assert not any(map(exists, before))
    assert supervisor.restarts() == {"parent": 1}


def test_restarts_are_counted_since_somebody_asked_for_a_start(supervisor: Supervisor) -> None:
    first = family(supervisor)[0]
    eventually(lambda: supervisor.states()["parent"].state == "RUNNING")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: supervisor.restarts() == {"parent": 1})
    supervisor.stop("parent")
    supervisor.start("parent")
    assert supervisor.restarts() == {"parent": 0}


def test_a_program_that_is_stopped_leaves_no_child(supervisor: Supervisor) -> None:
    before = family(supervisor)
    supervisor.stop("parent")
    eventually(lambda: not any(map(exists, before)))


def test_nothing_is_left_when_the_supervisor_is_shut_down(supervisor: Supervisor) -> None:
    before = family(supervisor)
    supervisor.shutdown()
    assert not any(map(exists, before))


def test_nothing_is_left_when_the_supervisor_is_killed(supervisor: Supervisor, layout: Layout) -> None:
    before = family(supervisor)
    os.kill(int((layout.run / "supervisord.pid").read_text()), signal.SIGKILL)
    supervisor.await_end()
    assert not any(map(exists, before))


def test_a_program_that_does_not_heed_the_supervisors_death_is_ended(
    supervisor: Supervisor, program: Program, layout: Layout
) -> None:
    [script] = program.files
    stubborn = replace(program, name="stubborn", files={script: "trap '' TERM\nwhile :; do sleep 1; done"})
    supervisor.ensure([stubborn])
    stubborn.make_ready()
    supervisor.start("stubborn")
    pid = eventually(lambda: supervisor.states()["stubborn"].pid)
    eventually(lambda: len(tree(pid)) > 1)  # it sleeps, so it has set its trap
    os.kill(int((layout.run / "supervisord.pid").read_text()), signal.SIGKILL)
    supervisor.await_end()
    assert not exists(pid)


def test_nothing_is_left_when_its_guard_is_killed(supervisor: Supervisor, layout: Layout) -> None:
    before = family(supervisor)
    own = int((layout.run / "supervisord.pid").read_text())
    guard = int(Path(f"/proc/{own}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guard, signal.SIGKILL)
    supervisor.await_end()
    assert not any(map(exists, before))


def test_what_runs_from_something_else_is_outdated(supervisor: Supervisor, program: Program) -> None:
    assert supervisor.outdated([program]) == set()
    assert supervisor.outdated([replace(program, version="2")]) == {"parent"}
    assert supervisor.outdated([]) == {"parent"}


def test_the_supervisor_that_runs_is_of_this_code(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert supervisor.is_current()
    monkeypatch.setattr("local.supervisor.digest", lambda paths, *texts: "other")
    assert not supervisor.is_current()
    assert supervisor.is_running()
