"""A Docker engine of the check's own, in namespaces of its own: nothing of it is seen outside, and nothing outlives it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from local.layout import ROOT, STATE

#: What is kept from one check to the next: images, the base of the stand-ins, Compose.
FOLDER = STATE / "compose"
#: Addresses in the file system have to be short.
_RUN = Path("/run/marea-compose")
_STARTS_WITHIN_S, _ENDS_WITHIN_S = 30, 30
_START = """
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
"$1" -m tests.compose.way_out forward "$2/way-out" &
exec dockerd --host "unix://$2/docker" --data-root "$3" --exec-root "$2/exec" --pidfile "$2/pid" --log-level error
"""


class NotUp(Exception):
    """The engine does not answer yet."""


class Failed(Exception):
    """A command failed. The text has what it said."""


class Engine:
    """Runs from `with` on, until that ends."""

    def __enter__(self) -> Self:
        _RUN.mkdir(mode=0o700, exist_ok=True)
        for name in ("way-out", "docker", "pid"):
            (_RUN / name).unlink(missing_ok=True)
        self._log = (FOLDER / "engine.log").open("w")
        way_out = ("-m", "tests.compose.way_out", "proxy", str(_RUN / "way-out"))
        self._proxy = subprocess.Popen([sys.executable, *way_out], cwd=ROOT, stdout=self._log, stderr=self._log)
        inside = ("sh", "-euc", _START, "sh", sys.executable, str(_RUN), str(FOLDER / "engine"))
        # The first process of a namespace takes all others with it; --kill-child ends that one with unshare itself.
        namespaces = ("--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child")
        self._unshare = subprocess.Popen(
            ["unshare", *namespaces, *inside], cwd=ROOT, stdout=self._log, stderr=self._log
        )
        try:
            self._wait()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def docker(self, *arguments: str) -> str:
        """What a command of docker says. Raises Failed."""
        return self._run(("docker", *arguments))

    def compose(self, *arguments: str, timeout_s: float = 300, **environment: str) -> str:
        """What a command of Compose says. Raises Failed."""
        return self._run((str(FOLDER / "docker-compose"), *arguments), timeout_s, environment)

    def import_image(self, name: str, tar: "subprocess.Popen[bytes]") -> None:
        """An image from a file system. Raises CalledProcessError."""
        command = ["docker", "import", "-", name]
        subprocess.run(command, env=_environment(), check=True, stdin=tar.stdout, stdout=subprocess.DEVNULL)

    def inspect(self, container: str) -> dict[str, Any]:
        """What the engine knows of a container."""
        found: dict[str, Any] = json.loads(self.docker("inspect", container))[0]
        return found

    def inside(self, *command: str) -> str:
        """What a command says that is run in the engine's network, with its processes. Raises Failed."""
        [first] = _children(self._unshare.pid)
        return self._run(("nsenter", "--target", first, "--net", "--pid", "--mount", "--", *command))

    def _run(self, command: Sequence[str], timeout_s: float = 60, environment: dict[str, str] | None = None) -> str:
        where = _environment() | (environment or {})
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=where, check=False, capture_output=True, text=True, timeout=timeout_s
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{' '.join(command)}: no end after {timeout_s:.0f} s\n{_text(error.stdout)}{_text(error.stderr)}") from error
        if done.returncode:
            raise Failed(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    @retry(
        stop=stop_after_delay(_STARTS_WITHIN_S), wait=wait_fixed(0.1), retry=retry_if_exception_type(NotUp), reraise=True
    )
    def _wait(self) -> None:
        if self._unshare.poll() is not None:
            raise Failed(f"the engine has ended:\n{(FOLDER / 'engine.log').read_text()[-2_000:]}")
        try:
            self.docker("info")
        except Failed as error:
            raise NotUp(str(error)) from error

    def _end(self) -> None:
        for first in _children(self._unshare.pid) if self._unshare.poll() is None else ():
            os.kill(int(first), signal.SIGTERM)
        try:
            self._unshare.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._unshare.kill()
            self._unshare.wait()
        self._proxy.terminate()
        self._proxy.wait()
        self._log.close()


def _environment() -> dict[str, str]:
    return {**os.environ, "DOCKER_HOST": f"unix://{_RUN / 'docker'}"}


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _text(said: bytes | str | None) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said or ""
