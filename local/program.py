"""What a program of the stack is, and how one tells that it is ready."""

import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from local.layout import HOST
from local.processes import running
from local.sources import digest

#: A machine that is busy with something else may take minutes; a program that can't start says so at once.
READY_TIMEOUT_S = 300.0


class NotReady(Exception):
    """The program does not serve yet. The text says what it answered."""


class Unfit(Exception):
    """This machine can't run a program. The text says what is too old or wrong, and what to do."""


def nothing() -> None:
    """For programs that need no preparation."""


@dataclass(frozen=True)
class Program:
    """One supervised program.

    `after` names what must be ready before it starts. `examine` raises Unfit when this machine can't run it.
    `files` are its generated configuration, and `prepare` makes its data folder; both happen right before a start.
    `sources` gives the files that it is made of. `check` raises NotReady until the program serves. `user` is the OS
    user that it must run as when we are root; `stop_signal` makes it end cleanly.
    """

    name: str
    version: str
    command: tuple[str, ...]
    check: Callable[[], None]
    port: int | None = None
    after: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    examine: Callable[[], None] = nothing
    files: Mapping[Path, str] = field(default_factory=dict)
    prepare: Callable[[], None] = nothing
    sources: Callable[[], Sequence[Path]] = tuple
    stop_signal: str = "TERM"
    user: str | None = None

    @property
    def address(self) -> str | None:
        """host:port, if it listens."""
        return f"{HOST}:{self.port}" if self.port else None

    def make_ready(self) -> None:
        """What has to be there before it starts."""
        for path, text in self.files.items():
            path.touch(mode=0o600)
            path.write_text(text)
        self.prepare()

    def fingerprint(self) -> str:
        """Of what a start now would run: with another one the program has to be started again."""
        said = (*self.command, self.version, *(f"{name}={value}" for name, value in self.environment.items()))
        return digest(self.sources(), *said, *(f"{path}: {text}" for path, text in self.files.items()))

    def supervised_command(self) -> tuple[str, ...]:
        """The command, made to end when the supervisor dies: nothing of a stack outlives it."""
        as_user = run_as(self.user) if self.user else ()
        return ("setpriv", *as_user, "--pdeathsig", self.stop_signal, "--", *self.command)


def at_least(program: str, found: str, needed: tuple[int, ...], why: str) -> None:
    """Raises Unfit when a program's version is lower than what is needed."""
    if numbers(found) < needed:
        raise Unfit(
            f"{program} {found} is too old: {'.'.join(map(str, needed))} or newer is needed, {why}."
            " Install a newer one, from its makers' packages for instance, or use a newer system"
        )


def numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("-")[0]))


def run_as(user: str) -> tuple[str, ...]:
    """Options of setpriv that change root to another user, who may still reach files below root's folders."""
    if os.geteuid() != 0:
        return ()
    capability = "+dac_override"
    return (
        *("--reuid", user, "--regid", user, "--init-groups"),
        *("--inh-caps", capability, "--ambient-caps", capability),
    )


def http_get(url: str, timeout_s: float = 2.0) -> bytes:
    """The body of a 200 answer. Raises NotReady."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or HOST, parts.port, timeout=timeout_s)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, HTTPException) as error:
        raise NotReady(f"GET {url}: {error!r}") from error
    finally:
        connection.close()
    if answer.status != HTTPStatus.OK:
        raise NotReady(f"GET {url}: {answer.status} {body[:200].decode(errors='replace')}")
    return body


def check_port_free(name: str, port: int) -> None:
    """Raises PortTaken when another program listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortTaken(
                f"{name} needs port {port}, but another program listens there{_listener(port)}: stop that program,"
                " or choose another base port with --port or MAREA_PORT"
            ) from error


class PortTaken(Exception):
    """Another program has a port that the stack needs."""


def _listener(port: int) -> str:
    """Who listens on a port, as far as we may know."""
    inode = _listening_inode(port)
    for pid in running():
        process = Path(f"/proc/{pid}")
        try:
            if any(
                str(descriptor.readlink()) == f"socket:[{inode}]" for descriptor in (process / "fd").iterdir()
            ):
                return f" (process {pid}, {(process / 'comm').read_text().strip()})"
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue  # somebody else's, or gone by now
    return ""


def _listening_inode(port: int) -> str | None:
    listen = "0A"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == listen and int(fields[1].rpartition(":")[2], 16) == port:
                return fields[9]
    return None
