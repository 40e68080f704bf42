"""A stack as the benchmark sees it: from outside, by what the stacks of all commits have in common.

It is started, emptied and asked by its own checkout's `./marea`; its passwords, its supervisor's address and what
listens where are read from what that leaves and says.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from configparser import RawConfigParser
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any
from xmlrpc.client import ServerProxy

from api.services import services
from bench.cpu import REST, component
from local.layout import DATABASE, HOST

_SHOWN_LINES = 30


class TargetFailed(Exception):
    """A command of the measured checkout failed. The text has the end of what it said."""


@dataclass(frozen=True)
class Target:
    """The stack of a checkout, identified by the checkout's folder and the stack's base port."""

    root: Path
    port: int

    @contextmanager
    def running(self) -> Iterator[float]:
        """Starts it empty, and leaves nothing of it. Gives the seconds until all was ready, the command's own included."""
        self.marea("reset")
        try:
            started = monotonic()
            self.marea("up")
            yield monotonic() - started
        finally:
            self.marea("reset")

    def rebuild(self, view: str, workers: int) -> Mapping[str, Any]:
        """Rebuilds a view; gives what `./marea rebuild --json` says of it."""
        said = self.marea("rebuild", view, "--workers", str(workers), "--json")
        rebuilt: dict[str, Any] = json.loads(said.splitlines()[-1])[view]
        return rebuilt

    def status(self) -> dict[str, Any]:
        """What `./marea status --json` tells."""
        found: dict[str, Any] = json.loads(self.marea("status", "--json").splitlines()[-1])
        return found

    def programs(self) -> dict[str, dict[str, Any]]:
        """What it tells of each program."""
        found: dict[str, dict[str, Any]] = self.status()["programs"]
        return found

    def roots(self) -> dict[int, str]:
        """The components of the stack's processes from which all others descend, by id."""
        names = frozenset(each.name for each in services())
        supervisor = int((self.folder / "run" / "supervisord.pid").read_text())
        programs = {
            each["pid"]: component(name, names) for name, each in self.programs().items() if each["pid"]
        }
        return {supervisor: REST, **programs}

    def environment(self, program: str) -> dict[str, str]:
        """The environment that a running program was started with."""
        variables = Path(f"/proc/{self.programs()[program]['pid']}/environ").read_text().split("\0")
        return {name: value for name, found, value in (each.partition("=") for each in variables) if found}

    def stop(self, program: str) -> None:
        """Stops one program, and returns when it has ended."""
        self._supervise("stopProcess", program)

    def start(self, program: str) -> None:
        """Starts one program that was stopped, and does not wait for it."""
        wait = False
        self._supervise("startProcess", program, wait)

    def marea(self, *arguments: str) -> str:
        """What a command of the checkout prints on standard output. Raises TargetFailed."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("MAREA_", "PYTHON"))
        }
        command = [str(self.root / "marea"), *arguments, "--port", str(self.port)]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=self.root, env=environment
        )
        if done.returncode:
            end = "\n".join((done.stdout + done.stderr).splitlines()[-_SHOWN_LINES:])
            raise TargetFailed(f"{' '.join(command)} ended with exit status {done.returncode}:\n{end}")
        return done.stdout

    @property
    def api_url(self) -> str:
        """The front door."""
        return f"http://{HOST}:{self.port}"

    @cached_property
    def kafka(self) -> str:
        """Bootstrap servers."""
        return self._addresses["kafka"]

    @property
    def registry_url(self) -> str:
        """The schema registry's Confluent-compatible API."""
        return f"http://{self._addresses['registry']}/apis/ccompat/v7"

    @property
    def redis_url(self) -> str:
        """The views' Redis."""
        return f"redis://:{self._secrets['redis']}@{self._addresses['redis']}/0"

    @property
    def database_url(self) -> str:
        """PostgreSQL, as the role that sees everything."""
        return f"postgresql://admin:{self._secrets['admin']}@{self._addresses['postgresql']}/{DATABASE}"

    @property
    def clickhouse_url(self) -> str:
        """The tables' ClickHouse."""
        return f"http://marea:{self._secrets['clickhouse']}@{self._addresses['clickhouse']}/marea"

    @property
    def operator_key(self) -> str:
        """The key of those who work there."""
        return self._secrets["operator_key"]

    @cached_property
    def _addresses(self) -> dict[str, str]:
        return {name: each["address"] for name, each in self.programs().items() if each["address"]}

    @cached_property
    def _secrets(self) -> dict[str, str]:
        secrets: dict[str, str] = json.loads((self.folder / "secrets.json").read_text())
        return secrets

    @property
    def folder(self) -> Path:
        """Everything that the stack keeps."""
        return self.root / ".marea" / "stacks" / str(self.port)

    def _supervise(self, method: str, *arguments: object) -> None:
        written = RawConfigParser(strict=False)
        written.read(self.folder / "run" / "supervisord.conf")
        door = written["inet_http_server"]
        with ServerProxy(f"http://{door['username']}:{door['password']}@{door['port']}/RPC2") as server:
            getattr(server.supervisor, method)(*arguments)
