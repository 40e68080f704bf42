"""Hitting the programs of a stack, and bringing back what was stopped."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic

from chaos.schedule import Blow, Strike
from local.processes import tree
from local.stack import Stack

#: Hears what happened, and how many seconds after the start.
Say = Callable[[float, str], None]


async def carry_out(stack: Stack, strikes: Sequence[Strike], say: Say) -> None:
    """Strikes, each at its time, and returns when what was stopped goes on again; so it does when this is cancelled."""
    started = monotonic()
    async with asyncio.TaskGroup() as blows:
        for strike in strikes:
            for blow in strike.blows:
                blows.create_task(_hit(stack, started, strike.at_s, blow, say))


async def _hit(stack: Stack, started: float, at_s: float, blow: Blow, say: Say) -> None:
    await asyncio.sleep(started + at_s - monotonic())
    pid = await asyncio.to_thread(_pid, stack, blow.program)
    with _held([] if pid is None else tree(pid)) as processes:
        say(monotonic() - started, str(blow) if processes else f"{blow}: it does not run")
        match blow.action:
            case "kill":
                _send(signal.SIGKILL, processes)
            case "kill first":
                _send(signal.SIGKILL, processes[:1])
            case "stop":
                _send(signal.SIGSTOP, processes)
                try:
                    await asyncio.sleep(blow.for_s)
                finally:
                    _send(signal.SIGCONT, processes)


def _pid(stack: Stack, program: str) -> int | None:
    state = stack.supervisor.states().get(program)
    return state.pid if state else None


@contextmanager
def _held(pids: Sequence[int]) -> Iterator[list[int]]:
    """File descriptors of processes that run, the first one first: a signal through them reaches no successor."""
    processes: list[int] = []
    try:
        for pid in pids:
            with suppress(ProcessLookupError):
                processes.append(os.pidfd_open(pid))
        yield processes
    finally:
        for process in processes:
            os.close(process)


def _send(number: signal.Signals, processes: Sequence[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, number)
