"""What `status` tells of a stack."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from psycopg2 import Error as PostgreSQLError

from connectors.relay import RelayDown
from local.processes import memory_bytes
from local.program import Program
from local.stack import Stack
from ops import consumers, health
from ops.consumers import Fare
from ops.positions import UNANSWERED, said
from ops.relay import relays
from ops.trouble import Trouble, verdict


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
    fares = _fares() if running else "the stack is down"
    troubles, now = _troubles(found, fares), datetime.now(UTC)
    return {
        "verdict": verdict(troubles, now),
        "troubles": [trouble.as_json(now) for trouble in troubles],
        "port": stack.layout.port,
        "programs": found,
        "relays": _relays(),
        "consumers": [each.as_json() for each in fares] if isinstance(fares, list) else fares,
    }


def _troubles(programs: Mapping[str, Mapping[str, Any]], fares: list[Fare] | str) -> list[Trouble]:
    if all(each["state"] == "STOPPED" for each in programs.values()):
        return [Trouble("the stack", "it is down; ./marea up starts it")]
    down = [
        Trouble(name, f"it is {each['state']}: {each['reason'] or f'see ./marea logs {name}'}")
        for name, each in programs.items()
        if each["state"] != "RUNNING"
    ]
    looks = {**health.LOOKS, "the consumers": lambda: _of_consumers(fares)}
    return [*down, *health.troubles(looks)]


def _of_consumers(fares: list[Fare] | str) -> list[Trouble]:
    if isinstance(fares, list):
        return consumers.troubles(fares)
    return [Trouble("the consumers", f"their state is not known: {fares}")]


def _relays() -> list[dict[str, Any]] | str:
    try:
        return [each.as_json() for each in relays()]
    except (PostgreSQLError, RelayDown) as error:
        return str(error).partition("\n")[0]


def _reasons(programs: Sequence[Program]) -> dict[str, str]:
    """By program, why it does not serve; nothing of those that do."""
    with ThreadPoolExecutor(max(len(programs), 1)) as pool:
        asked = {program.name: pool.submit(program.check) for program in programs}
    errors = {name: answer.exception() for name, answer in asked.items()}
    return {name: str(error).strip() for name, error in errors.items() if error}


def _fares() -> list[Fare] | str:
    try:
        return consumers.fares()
    except UNANSWERED as error:
        return said(error)
