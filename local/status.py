"""What `status` tells of a stack."""

import os
from typing import Any

from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from psycopg2 import Error as PostgreSQLError
from redis.exceptions import RedisError

from local.processes import memory_bytes
from local.stack import Stack
from ops.comparisons import Comparisons


def describe(stack: Stack) -> dict[str, Any]:
    """What `status` tells: by program; and by consumer, how many events are parked, or why that is not known."""
    states = stack.supervisor.states()
    found = {}
    for name, program in stack.programs.items():
        state = states.get(name)
        pid = state.pid if state else None
        found[name] = {
            "state": state.state if state else "STOPPED",
            "version": program.version,
            "address": program.address,
            "pid": pid,
            "memory_bytes": memory_bytes(pid) if pid else 0,
        }
    return {"port": stack.layout.port, "programs": found, "parked": _parked(stack)}


def _parked(stack: Stack) -> dict[str, int] | str:
    if not stack.supervisor.is_running():
        return "the stack is down"
    os.environ.update(stack.layout.environment)
    try:
        return Comparisons().parked()
    except (PostgreSQLError, RedisError, ClickHouseError, OSError) as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]


