"""supervisord, so that nothing of a stack outlives its program: `python -m local.supervisord -c FILE`.

A program that dies can leave children that go on serving and hold its port: nginx's workers, Granian's, PostgreSQL's
backends. The kernel hands such orphans to supervisord, which ends them before it starts the program again. When
supervisord itself dies, a guard, its parent, ends all that is left; when the guard dies, supervisord stops.
"""

import ctypes
import fcntl
import os
import signal
import time
from pathlib import Path
from typing import Any, TextIO

from supervisor import events, supervisord
from supervisor.options import ServerOptions
from supervisor.states import ProcessStates

from local.processes import children

#: Seconds in which programs can stop cleanly when supervisord was killed: all at once, so some wait for others.
STOP_S = 10.0
_POLL_S = 0.1
_BY_ITSELF = (ProcessStates.EXITED, ProcessStates.BACKOFF)
_SET_DEATH_SIGNAL, _BECOME_SUBREAPER = 1, 36  # of prctl


class Options(ServerOptions):  # type: ignore[misc]  # has no types
    """supervisord's options and system calls, with our care for orphans."""

    def daemonize(self) -> None:
        """Goes into the background, below a guard."""
        super().daemonize()
        self.lock = _fork_below_guard(Path(self.directory) / LOCK)
        _prctl(_BECOME_SUBREAPER, 1)

    def waitpid(self) -> tuple[int | None, int | None]:
        """The next process that has ended. What it has left behind has ended, too."""
        pid, status = super().waitpid()
        if pid:
            _end_children(but=set(self.pidhistory))
        return pid, status


class Restarts:
    """How often each program was started again because it had died, since somebody asked for its start."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        events.subscribe(events.ProcessStateStartingEvent, self._count)

    def counts(self) -> dict[str, int]:
        """By program."""
        return self._counts

    def _count(self, event: Any) -> None:
        name = event.process.config.name
        self._counts[name] = self._counts.get(name, 0) + 1 if event.from_state in _BY_ITSELF else 0


def make_restarts(_supervisord: object) -> Restarts:
    """The RPC interface `restarts`, which the configuration names."""
    return Restarts()


#: Held by supervisord and its guard for as long as anything of the stack can run.
LOCK = "supervisord.lock"


def _fork_below_guard(lock_path: Path) -> TextIO:
    """Returns in a child, with the lock that both hold; the parent is its guard, and ends when all is over."""
    lock = lock_path.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    _prctl(_BECOME_SUBREAPER, 1)
    guard = os.getpid()
    child = os.fork()
    if child:
        _guard(child, lock.fileno())
    _prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != guard:
        os._exit(1)  # it died before we could ask to be told
    return lock


def _guard(child: int, lock: int) -> None:
    """Waits for supervisord's end. Programs are told of it by the kernel, and get the time to stop cleanly."""
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGHUP,
        signal.SIGCHLD,
        signal.SIGUSR2,
    ):
        signal.signal(number, signal.SIG_DFL)
    os.closerange(0, lock)  # supervisord's port among them
    os.closerange(lock + 1, os.sysconf("SC_OPEN_MAX"))
    os.waitpid(child, 0)
    deadline = time.monotonic() + STOP_S
    while (programs := _started_by_supervisord()) and time.monotonic() < deadline:
        _end_children(but=programs)
        _reap()
        time.sleep(_POLL_S)
    _end_children()
    os._exit(0)


def _started_by_supervisord() -> set[int]:
    """Those of our children that lead a process group in our session: others are what programs have left behind."""
    session = os.getsid(0)
    return {pid for pid in children(os.getpid()) if os.getpgid(pid) == pid and os.getsid(pid) == session}


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _end_children(but: set[int] | frozenset[int] = frozenset()) -> None:
    """Kills this process's children, and theirs, which become ours; returns when they have ended."""
    while found := set(children(os.getpid())) - but:
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        for pid in found:
            os.waitpid(pid, 0)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def main() -> None:
    """Runs until it is told to shut down."""
    options = Options()
    options.realize()
    options.first, options.test = True, False
    supervisord.go(options)


if __name__ == "__main__":
    main()
