"""The supervisor: one supervisord per stack, which restarts what dies and stops nothing but its own."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any, NamedTuple
from xmlrpc.client import Fault, ProtocolError, ServerProxy

from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from local.layout import ROOT, Layout
from local.program import Program, check_port_free
from local.sources import digest, python_sources
from local.supervisord import LOCK

_HEADER = """\
[supervisord]
logfile={run}/supervisord.log
pidfile={run}/supervisord.pid
childlogdir={run}
directory={run}
identifier={identifier}

[inet_http_server]
port={address}
username=marea
password={password}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[rpcinterface:restarts]
supervisor.rpcinterface_factory=local.supervisord:make_restarts
"""
# A program that dies at once is started again after 1, 2, 3... seconds; one that had run, at once.
_PROGRAM = """
[program:{name}]
command={command}
environment={environment}
directory={run}
autostart=false
autorestart=true
startsecs=1
startretries=100
stopsignal={stop_signal}
stopwaitsecs=30
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=2
"""
#: Seconds in which all programs can stop, one after the other's need of it, or be killed.
_END_S = 120.0
_SHUTTING_DOWN, _ALREADY_STARTED, _NOT_RUNNING = 6, 60, 70


class NotEnded(Exception):
    """Processes of a stack are left although it was stopped."""


class State(NamedTuple):
    """What the supervisor knows of a program. `state` is STOPPED, STARTING, RUNNING, BACKOFF, EXITED or FATAL."""

    state: str
    pid: int | None
    running_s: int


class Supervisor:
    """The supervisor of one stack, running or not."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._configuration = layout.run / "supervisord.conf"
        self._log = layout.run / "supervisord.log"

    def ensure(self, programs: Sequence[Program]) -> None:
        """Starts the supervisor if it does not run, and tells it of these programs.

        Those that run from something else than they say now are stopped.
        """
        self._write(programs)
        if self.is_running():
            self._reload()
            return
        check_port_free("the supervisor", self._layout.port_of("supervisor"))
        command = [sys.executable, "-W", "ignore", "-m", "local.supervisord", "-c", str(self._configuration)]
        subprocess.run(command, check=True, env=self._environment(), stdin=subprocess.DEVNULL)

    def outdated(self, programs: Sequence[Program]) -> set[str]:
        """Programs that run, or were to run, from something else than these say now, or that are none of these."""
        self._write(programs)
        [[_, changed, removed]] = self._call("reloadConfig")
        return {*changed, *removed}

    def is_running(self) -> bool:
        """Whether this stack's supervisor answers."""
        return self._identity() is not None

    def is_current(self) -> bool:
        """Whether the supervisor that answers runs the code that is here now."""
        return self._identity() == _own_identity()

    def states(self) -> dict[str, State]:
        """By program; nothing when the supervisor does not run."""
        try:
            every: Any = self._call("getAllProcessInfo")
        except (OSError, HTTPException, ProtocolError):
            return {}
        return {each["name"]: _state(each) for each in every}

    def start(self, name: str) -> None:
        """Starts a program, and does not wait for it."""
        wait = False
        self._ignoring(_ALREADY_STARTED, "startProcess", name, wait)

    def stop(self, name: str) -> None:
        """Stops a program cleanly, and returns when it has ended."""
        wait = True
        self._ignoring(_NOT_RUNNING, "stopProcess", name, wait)

    def restarts(self) -> dict[str, int]:
        """How often each program was started again because it had died, since somebody asked for its start."""
        try:
            counts: dict[str, int] = self._call("counts", interface="restarts")
        except (OSError, HTTPException, ProtocolError):
            return {}
        return counts

    def shutdown(self) -> None:
        """Ends the supervisor, which stops what still runs, and returns when it has ended."""
        self._call("shutdown")
        self.await_end()

    def await_end(self) -> None:
        """Returns when no process of the stack is left, once the supervisor has been told to end, or was killed.

        Raises NotEnded when that takes too long.
        """
        path = self._layout.run / LOCK
        if not path.exists():
            return
        with path.open() as lock:
            try:
                Retrying(
                    stop=stop_after_delay(_END_S),
                    wait=wait_fixed(0.05),
                    retry=retry_if_exception_type(BlockingIOError),
                )(fcntl.flock, lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except RetryError:
                raise NotEnded(f"the stack has not ended after {_END_S:.0f} s: see {self._log}") from None

    def _reload(self) -> None:
        """Programs whose configuration changed are stopped; `up` starts them again."""
        [[added, changed, removed]] = self._call("reloadConfig")
        for name in [*changed, *removed]:
            self.stop(name)
            self._call("removeProcessGroup", name)
        for name in [*added, *changed]:
            self._call("addProcessGroup", name)

    def _ignoring(self, code: int, method: str, *arguments: object) -> None:
        try:
            self._call(method, *arguments)
        except Fault as fault:
            if fault.faultCode != code:
                raise

    def _identity(self) -> str | None:
        """None when no supervisor answers, or when it is about to end."""
        try:
            return str(self._call("getIdentification"))
        except (OSError, HTTPException, ProtocolError):
            return None

    def _call(self, method: str, *arguments: object, interface: str = "supervisor") -> Any:
        credentials = f"marea:{self._layout.secrets['supervisor']}"
        with ServerProxy(f"http://{credentials}@{self._layout.address('supervisor')}/RPC2") as server:
            try:
                return getattr(server, f"{interface}.{method}")(*arguments)
            except Fault as fault:
                if fault.faultCode == _SHUTTING_DOWN:
                    raise ConnectionAbortedError("the supervisor is about to end") from fault
                raise

    @staticmethod
    def _environment() -> dict[str, str]:
        """Settings come from the stack alone, not from whoever happens to start it."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MAREA_", "LC_", "LANG"))
        }
        # Java can't open a file whose name has letters that the locale has not.
        return {**kept, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}

    def _write(self, programs: Sequence[Program]) -> None:
        self._layout.make_folders()
        self._configuration.touch(mode=0o600)
        self._configuration.write_text(self._written(programs))

    def _written(self, programs: Sequence[Program]) -> str:
        layout = self._layout
        header = _HEADER.format(
            identifier=_own_identity(),
            run=_escape(str(layout.run)),
            address=layout.address("supervisor"),
            password=layout.secrets["supervisor"],
        )
        return header + "".join(self._section(program) for program in programs)

    def _section(self, program: Program) -> str:
        environment = {
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            # The supervisor compares configurations: with this they differ when what is run differs.
            "MAREA_FINGERPRINT": program.fingerprint(),
            **program.environment,
        }
        return _PROGRAM.format(
            name=program.name,
            command=" ".join(f'"{_escape(word)}"' for word in program.supervised_command()),
            environment=",".join(f'{name}="{_escape(value)}"' for name, value in environment.items()),
            run=_escape(str(self._layout.run)),
            stop_signal=program.stop_signal,
            log=_escape(str(self._layout.log(program.name))),
        )


def _own_identity() -> str:
    return f"marea-{digest(python_sources('local.supervisord'))}"


def _escape(text: str) -> str:
    if '"' in text:
        raise ValueError(f"the supervisor's configuration can't hold a quotation mark: {text}")
    return text.replace("%", "%%")


def _state(info: dict[str, Any]) -> State:
    running_s = info["now"] - info["start"] if info["statename"] == "RUNNING" else 0
    return State(info["statename"], info["pid"] or None, running_s)
