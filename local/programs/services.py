"""The services, each under gunicorn."""

import sys
from importlib.metadata import version
from typing import NamedTuple

from local.layout import Layout, services
from local.program import Program, http_get


class Workforce(NamedTuple):
    """How many requests a service handles at once: processes times threads.

    A process of one thread takes each connection itself. That halves what a request costs, for more memory.
    """

    processes: int
    threads: int


# An open stock stream keeps a thread.
_WORKFORCES = {"inventory": Workforce(1, 64), "orders": Workforce(4, 1)}
_USUAL_WORKFORCE = Workforce(1, 16)


def programs(layout: Layout) -> tuple[Program, ...]:
    """One program a service."""
    return tuple(_program(layout, service) for service in services())


def _program(layout: Layout, service: str) -> Program:
    processes, threads = _WORKFORCES.get(service, _USUAL_WORKFORCE)
    return Program(
        name=service,
        version=f"gunicorn {version('gunicorn')}",
        port=layout.port_of(service),
        command=(
            *(sys.executable, "-m", "gunicorn", f"api.{service}.routes:create_app()"),
            *("--bind", layout.address(service), "--preload"),
            *("--worker-class", "sync" if threads == 1 else "gthread"),
            *("--workers", str(processes), "--threads", str(threads), "--keep-alive", "75"),
            # In memory: a worker that waits for the disk must not be taken for a dead one.
            *(
                "--worker-tmp-dir",
                "/dev/shm",  # noqa: S108
                "--graceful-timeout",
                "5",
                "--log-level",
                "warning",
            ),
        ),
        environment=layout.environment_for(
            "PARTITIONS", "KAFKA", "REGISTRY_URL", "REDIS_URL", f"{service.upper()}_DATABASE_URL"
        ),
        after=("migrations", "schemas", "topics", "redis"),
        check=lambda: _check(layout, service),
    )


def _check(layout: Layout, service: str) -> None:
    http_get(f"http://{layout.address(service)}/health")
