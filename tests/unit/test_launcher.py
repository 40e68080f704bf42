"""./marea, before there is anything that it could run: in a copy of its own, with nothing at hand to install with."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.layout import ROOT

#: What it calls. There is no apt-get among it, no sudo, and no Python.
TOOLS = "bash cmp dirname env flock mkdir readlink rm".split()
#: What the stack needs beside Python; never started here.
SERVERS = (
    *("redis-server", "nginx", "prometheus", "prometheus-alertmanager"),
    *(f"prometheus-{store}-exporter" for store in ("postgres", "redis", "nginx")),
)
PINS = ("requirements.txt", "requirements-uv.txt", "connectors/jars.sha256")
#: A Python that takes itself for one of another version, and can make no environments.
PYTHON = f"""
case "$1" in
-V) echo Python {{version}};;
-c) exec "{sys.executable}" -c "import sys; sys.version_info = tuple(map(int, '{{version}}'.split('.'))); $2";;
*) exit 1;;
esac"""
WITHOUT_VENV = f'case "$*" in *ensurepip*|*venv*/*) exit 1;; *) exec "{sys.executable}" "$@";; esac'


class Machine:
    """A machine with a copy of the launcher, and the jars in place."""

    def __init__(self, folder: Path) -> None:
        self.programs, self.checkout = folder / "bin", folder / "jos\u00e9"
        self.programs.mkdir()
        for name in TOOLS:
            (self.programs / name).symlink_to(shutil.which(name) or name)
        for name in SERVERS:
            self.has(name, "exit 1")
        for name in ("marea", *PINS):
            (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.checkout / name)
        self.stamp("jars", "connectors/jars.sha256")

    def has(self, name: str, script: str) -> None:
        write(self.programs / name, script)

    def stamp(self, made: str, pins: str) -> None:
        """Something is there, made from these pins."""
        folder = self.checkout / ".marea" / made
        folder.mkdir(parents=True)
        shutil.copy(self.checkout / pins, folder / "stamp")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.programs), "LC_ALL": "C"}
        command = [str(self.checkout / "marea"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)


def write(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_python_it_says_what_to_install(machine: Machine) -> None:
    ended = machine.run("up")
    assert ended.returncode == 1
    assert "these packages are missing" in ended.stderr
    assert "python3 python3-venv" in ended.stderr


@pytest.mark.parametrize("version", ["3.10.12", "3.14.0"])
def test_a_python_that_is_too_old_or_too_new_is_said_with_those_that_would_do(machine: Machine, version: str) -> None:
    machine.has("python3", PYTHON.format(version=version))
    ended = machine.run("up")
    assert ended.returncode == 1
    assert f"Python 3.11, 3.12 or 3.13 is needed, and there is Python {version} only: install" in ended.stderr


def test_a_python_that_can_not_make_environments_lacks_a_package_of_its_own_version(machine: Machine) -> None:
    machine.has("python3", WITHOUT_VENV)
    ended = machine.run("up")
    assert ended.returncode == 1
    assert "these packages are missing" in ended.stderr
    assert f"python{sys.version_info.major}.{sys.version_info.minor}-venv" in ended.stderr


def test_a_python_that_does_is_taken_though_another_one_is_the_usual(machine: Machine) -> None:
    machine.has("python3", PYTHON.format(version="3.10.12"))
    machine.has("python3.12", PYTHON.format(version="3.12.1"))
    ended = machine.run("up")
    assert ended.returncode == 1
    assert f"python3.12 could not make the environment {machine.checkout}/.marea/venv" in ended.stderr


def test_in_a_folder_of_any_name_and_without_a_locale_the_command_line_runs_in_utf_8(machine: Machine) -> None:
    machine.stamp("venv", "requirements.txt")
    python = machine.checkout / ".marea/venv/bin/python"
    python.parent.mkdir()
    write(python, 'printf "%s\\n" "$LC_ALL" "$PYTHONPATH" "$PYTHONSAFEPATH" "${PATH#*:}" "$@"')
    ended = machine.run("logs", "two words")
    assert ended.stdout.splitlines() == [
        "C.UTF-8",
        str(machine.checkout),
        "1",
        "/usr/sbin:/sbin",
        *("-m", "cli", "logs", "two words"),
    ]
    assert (ended.returncode, ended.stderr) == (0, "")
