"""What `status` tells of a stack."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from psycopg2 import Error as PostgreSQLError
from redis.exceptions import RedisError

from local.processes import memory_bytes
from local.program import Program
from local.stack import Stack
from ops.positions import parked


def describe(stack: Stack) -> dict[str, Any]:
    """What `status` tells: by program; and by consumer, how many events are parked, or why that is not known.

    A program's process can run, and the program not serve: then its `state` is NOT READY, and `reason` says why.
    """
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
    return {"port": stack.layout.port, "programs": found, "parked": _parked(stack)}


def _reasons(programs: Sequence[Program]) -> dict[str, str]:
    """By program, why it does not serve; nothing of those that do."""
    with ThreadPoolExecutor(max(len(programs), 1)) as pool:
        asked = {program.name: pool.submit(program.check) for program in programs}
    errors = {name: answer.exception() for name, answer in asked.items()}
    return {name: str(error).strip() for name, error in errors.items() if error}


def _parked(stack: Stack) -> dict[str, int] | str:
    if not stack.supervisor.is_running():
        return "the stack is down"
    os.environ.update(stack.layout.environment)
    try:
        return parked()
    except (PostgreSQLError, RedisError, ClickHouseError, OSError) as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
