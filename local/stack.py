"""Up and down: programs and preparations, in the order of what they need, side by side where they can be."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path

from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    stop_when_event_set,
)

from local.layout import ROOT, Layout, Profile
from local.preparations import Preparation, preparations
from local.processes import tree
from local.program import READY_TIMEOUT_S, NotReady, Program, Unfit, check_port_free
from local.programs import programs
from local.supervisor import Supervisor

_LOG_TAIL_LINES = 20
#: Seconds between two looks whether a program is ready, and the share of its time that they may cost it. What it answers
#: takes CPU, of which there is least while all start.
_POLL_S, _POLL_SHARE = (0.1, 0.5), 0.1
#: They end a string, a path in a list of paths, or a line, in some program's configuration.
_UNFIT_LETTERS = frozenset("\"'\\$,:;*\n")
_UP = ("STARTING", "RUNNING", "BACKOFF")

#: Told the name of what has just become ready, and after how many seconds.
Report = Callable[[str, float], None]


class NotStarted(Exception):
    """A program did not become ready. The text has the end of its log, and how to see the rest."""


def silent(name: str, seconds: float) -> None:
    """Reports nothing."""


class Stack:
    """One stack on this machine, identified by its layout."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.supervisor = Supervisor(layout)
        self._abandoned = threading.Event()

    @cached_property
    def programs(self) -> Mapping[str, Program]:
        """Every program by name."""
        return {program.name: program for program in programs(self.layout)}

    def up(self, report: Report = silent) -> float:
        """Brings what runs to what the code says; returns when all is ready, with the seconds that it took.

        Starts what does not run, and starts again what runs from something else. Raises NotStarted, PortTaken, Unfit
        or what a preparation raised; what was started by then stays up, to be looked at.
        """
        started_at = time.monotonic()
        check_folder(ROOT)
        programs = tuple(self.programs.values())
        for program in programs:
            program.examine()
        self._stop_outdated(programs)
        running = self.running()
        for program in programs:
            if program.port and program.name not in running:
                check_port_free(program.name, program.port)
        self.supervisor.ensure(programs)
        nodes: list[Program | Preparation] = [*programs, *preparations(self.layout)]
        actions: dict[str, Callable[[], None]] = {}
        for node in nodes:
            actions[node.name] = node.run if isinstance(node, Preparation) else self._starter(node.name)
        self._run({node.name: node.after for node in nodes}, actions, report)
        return time.monotonic() - started_at

    def down(self, report: Report = silent) -> None:
        """Stops the stack's programs, each after those that need it. Does nothing when the stack is down."""
        if self.supervisor.is_running():
            self._stop(self.supervisor.states(), report)
            self.supervisor.shutdown()
        else:
            self.supervisor.await_end()  # it may have been killed a moment ago
        if self.layout.front.exists():
            shutil.rmtree(self.layout.front)

    def use_workers(self, number: int) -> None:
        """From the next `up` on there are so many Faust workers."""
        self.layout.keep_setting("workers", number)
        self.__dict__.pop("programs", None)

    def use_profile(self, profile: Profile) -> None:
        """From the next `up` on it consists of this."""
        self.layout.keep_setting("profile", profile)
        self.__dict__.pop("programs", None)

    def restart(self, name: str | None = None, report: Report = silent) -> float:
        """Stops one program, or all, and brings the stack up. Raises what `up` raises."""
        if name is None:
            self.down(report)
        elif name in self.running():
            self.stop(name)
        return self.up(report)

    def reset(self, report: Report = silent) -> None:
        """Stops the stack and deletes all that it kept, but for its passwords."""
        self.down(report)
        self.layout.settings_file.unlink(missing_ok=True)
        for folder in self.layout.folders:
            if folder.exists():
                shutil.rmtree(folder)

    def running(self) -> set[str]:
        """The names of programs that run, or are being started."""
        return {name for name, state in self.supervisor.states().items() if state.state in _UP}

    def start(self, name: str) -> None:
        """Starts one program that was stopped, and does not wait for it."""
        program = self.programs[name]
        program.make_ready()
        self.supervisor.start(name)

    def stop(self, name: str) -> None:
        """Stops one program cleanly; it stays down until it is started."""
        self.supervisor.stop(name)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """A signal to all processes of one program. The supervisor starts it again when it dies."""
        pid = self.supervisor.states()[name].pid
        for process in tree(pid) if pid else ():
            with suppress(ProcessLookupError):  # it has ended by itself meanwhile
                os.kill(process, number)

    def wait_ready(self, name: str, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Returns when a program serves. Raises NotStarted."""
        program = self.programs[name]

        def check() -> None:
            state = self.supervisor.states()[name].state
            if state == "FATAL":
                raise NotStarted(f"{name} does not start.{self._tail(name)}")
            if state not in ("RUNNING", "STARTING"):
                raise NotReady(f"its process is {state}")
            program.check()

        try:
            Retrying(
                stop=stop_after_delay(timeout_s) | stop_when_event_set(self._abandoned),
                wait=_until_next_look,
                retry=retry_if_exception_type(NotReady),
            )(check)
        except RetryError as error:
            reason = error.last_attempt.exception()
            raise NotStarted(
                f"{name} is not ready after {timeout_s:.0f} s: {reason}{self._tail(name)}"
            ) from reason

    def _starter(self, name: str) -> Callable[[], None]:
        def start() -> None:
            if name not in self.running():
                self.start(name)
            self.wait_ready(name)

        return start

    def _stop_outdated(self, programs: Sequence[Program]) -> None:
        if self.supervisor.is_running() and self.supervisor.is_current():
            self._stop(self.supervisor.outdated(programs), silent)
        else:
            self.down()

    def _stop(self, names: Collection[str], report: Report) -> None:
        """In the order opposite to that of `up`. A preparation takes no time to undo: it only carries order."""
        needs: dict[str, Iterable[str]] = {program.name: program.after for program in self.programs.values()}
        needs |= {preparation.name: preparation.after for preparation in preparations(self.layout)}
        needed_by: dict[str, list[str]] = {name: [] for name in needs}
        for name, after in needs.items():
            for needed in after:
                needed_by[needed].append(name)

        def stopper(name: str) -> Callable[[], None]:
            return lambda: self.supervisor.stop(name) if name in names else None

        for forgotten in set(names) - needs.keys():
            self.supervisor.stop(forgotten)
        self._run(needed_by, {name: stopper(name) for name in needs}, report)

    def _run(
        self, after: Mapping[str, Iterable[str]], actions: Mapping[str, Callable[[], None]], report: Report
    ) -> None:
        """Runs every action when those it comes after are done. The first that raises ends all."""
        self._abandoned.clear()
        sorter = TopologicalSorter(after)
        sorter.prepare()
        started_at = time.monotonic()
        pending: dict[Future[None], str] = {}
        with ThreadPoolExecutor(max_workers=len(actions)) as pool:
            try:
                while sorter.is_active():
                    for name in sorter.get_ready():
                        pending[pool.submit(actions[name])] = name
                    for future in wait(pending, return_when=FIRST_COMPLETED).done:
                        name = pending.pop(future)
                        future.result()
                        report(name, time.monotonic() - started_at)
                        sorter.done(name)
            except BaseException:
                self._abandoned.set()  # else the pool would wait for programs that nobody waits for any more
                raise

    def _tail(self, name: str) -> str:
        return f"\n{tail(self.layout.log(name), _LOG_TAIL_LINES)}\nSee all of it with: ./marea logs {name}"


def _until_next_look(looks: RetryCallState) -> float:
    least, most = _POLL_S
    return max(least, min(most, _POLL_SHARE * (looks.seconds_since_start or 0)))


def check_folder(path: Path) -> None:
    """Raises Unfit when a folder's name can't be written into every program's configuration."""
    unfit = "".join(sorted(set(str(path)) & _UNFIT_LETTERS))
    if unfit:
        raise Unfit(
            f"the checkout is in {path}, and some programs can't read {unfit!r} in a name: move it elsewhere"
        )


def tail(path: Path, lines: int) -> str:
    """The last lines of a log."""
    if not path.exists():
        return f"({path} does not exist)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
