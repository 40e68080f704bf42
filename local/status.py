"""What `status` tells of a stack."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from local.processes import memory_bytes
from local.program import Program
from local.stack import Stack
from ops import status
from ops.trouble import Trouble


def describe(stack: Stack) -> dict[str, Any]:
    """What `status` tells: the verdict and what it rests on; every program, relay and consumer.

    A program's process can run, and the program not serve: then its `state` is NOT READY, and `reason` says why.
    """
    os.environ.update(stack.layout.environment)
    states, restarts = stack.supervisor.states(), stack.supervisor.restarts()
    running = [
        stack.programs[name] for name in stack.programs if name in states and states[name].state == "RUNNING"
    ]
    reasons = _reasons(running)
    found = {}
    for name, program in stack.programs.items():
        state = states.get(name)
        pid = state.pid if state else None
        reason = reasons.get(name)
        found[name] = {
            "state": "NOT READY" if reason else state.state if state else "STOPPED",
            "reason": reason,
            "restarts": restarts.get(name, 0),
            "version": program.version,
            "address": program.address,
            "pid": pid,
            "memory_bytes": memory_bytes(pid) if pid else 0,
        }
    return {"port": stack.layout.port, "programs": found, **_path(found)}


def _path(programs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What is told of production everywhere, with the programs' troubles."""
    if all(each["state"] == "STOPPED" for each in programs.values()):
        down = "the stack is down"
        judged = status.judge([Trouble("the stack", "it is down; ./marea up starts it")])
        return {**judged, "relays": down, "consumers": down, "due": down}
    stopped = [
        Trouble(name, f"it is {each['state']}: {each['reason'] or f'see ./marea logs {name}'}")
        for name, each in programs.items()
        if each["state"] != "RUNNING"
    ]
    return status.describe(stopped)


def _reasons(programs: Sequence[Program]) -> dict[str, str]:
    """By program, why it does not serve; nothing of those that do."""
    with ThreadPoolExecutor(max(len(programs), 1)) as pool:
        asked = {program.name: pool.submit(program.check) for program in programs}
    errors = {name: answer.exception() for name, answer in asked.items()}
    return {name: str(error).strip() for name, error in errors.items() if error}
