"""The supervisor: one supervisord per stack, which restarts what dies and stops nothing but its own."""

import os
import select
import subprocess
import sys
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any, NamedTuple
from xmlrpc.client import Fault, ProtocolError, ServerProxy

from local.layout import ROOT, Layout
from local.program import Program, check_port_free

_HEADER = """\
[supervisord]
logfile={run}/supervisord.log
pidfile={run}/supervisord.pid
childlogdir={run}
directory={run}
identifier=marea

[inet_http_server]
port={address}
username=marea
password={password}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
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
_ALREADY_STARTED, _NOT_RUNNING = 60, 70


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

    def ensure(self, programs: Sequence[Program]) -> None:
        """Starts the supervisor if it does not run, and tells it of these programs."""
        self._layout.make_folders()
        self._configuration.touch(mode=0o600)
        self._configuration.write_text(self._written(programs))
        if self.is_running():
            self._reload()
            return
        check_port_free("the supervisor", self._layout.port_of("supervisor"))
        # Settings come from the stack alone, not from whoever happens to start it.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAREA_")}
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "supervisor.supervisord",
            "-c",
            str(self._configuration),
        ]
        subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL)

    def is_running(self) -> bool:
        """Whether this stack's supervisor answers."""
        try:
            return bool(self._call("getIdentification") == "marea")
        except (OSError, HTTPException, ProtocolError):
            return False

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

    def shutdown(self) -> None:
        """Ends the supervisor, which stops what still runs, and returns when it has ended."""
        descriptor = os.pidfd_open(self._call("getPID"))
        try:
            self._call("shutdown")
            select.select([descriptor], [], [])  # readable once the process has ended
        finally:
            os.close(descriptor)

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

    def _call(self, method: str, *arguments: object) -> Any:
        credentials = f"marea:{self._layout.secrets['supervisor']}"
        with ServerProxy(f"http://{credentials}@{self._layout.address('supervisor')}/RPC2") as server:
            return getattr(server.supervisor, method)(*arguments)

    def _written(self, programs: Sequence[Program]) -> str:
        layout = self._layout
        header = _HEADER.format(
            run=_escape(str(layout.run)),
            address=layout.address("supervisor"),
            password=layout.secrets["supervisor"],
        )
        return header + "".join(self._section(program) for program in programs)

    def _section(self, program: Program) -> str:
        environment = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **program.environment}
        return _PROGRAM.format(
            name=program.name,
            command=" ".join(f'"{_escape(word)}"' for word in program.supervised_command()),
            environment=",".join(f'{name}="{_escape(value)}"' for name, value in environment.items()),
            run=_escape(str(self._layout.run)),
            stop_signal=program.stop_signal,
            log=_escape(str(self._layout.log(program.name))),
        )


def _escape(text: str) -> str:
    if '"' in text:
        raise ValueError(f"the supervisor's configuration can't hold a quotation mark: {text}")
    return text.replace("%", "%%")


def _state(info: dict[str, Any]) -> State:
    running_s = info["now"] - info["start"] if info["statename"] == "RUNNING" else 0
    return State(info["statename"], info["pid"] or None, running_s)
