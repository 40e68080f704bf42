"""The services, each under gunicorn."""

import sys
from importlib.metadata import version

from api.manifest import Service
from api.services import services
from local.layout import Layout
from local.program import Program, http_get
from local.sources import python_sources


def programs(layout: Layout) -> tuple[Program, ...]:
    """One program a service."""
    return tuple(_program(layout, each) for each in services())


def manifests() -> tuple[str, ...]:
    """The modules in which services are declared: whatever asks for services or consumers imports all of them."""
    return tuple(f"api.{each.name}.service" for each in services())


def _program(layout: Layout, service: Service) -> Program:
    database = (f"{service.name.upper()}_DATABASE_URL",) if service.has_database else ()
    return Program(
        name=service.name,
        version=f"gunicorn {version('gunicorn')}",
        port=layout.port_of(service.name),
        command=(
            # On a machine that is too busy, what has been accepted is carried before more is.
            *("nice", "-n", "5"),
            *(sys.executable, "-m", "gunicorn", f"api.wsgi:create_app('{service.name}')"),
            *("--bind", layout.address(service.name), "--preload"),
            *("--worker-class", "sync" if service.threads == 1 else "gthread"),
            *("--workers", str(service.processes), "--threads", str(service.threads), "--keep-alive", "75"),
            # In memory: a worker that waits for the disk must not be taken for a dead one.
            *("--worker-tmp-dir", "/dev/shm"),  # noqa: S108
            *("--graceful-timeout", "5", "--log-level", "warning"),
        ),
        environment=layout.environment_for("PARTITIONS", "KAFKA", "REGISTRY_URL", "REDIS_URL", *database),
        sources=lambda: python_sources("api.wsgi", f"api.{service.name}", *manifests()),
        after=("migrations", "schemas", "topics", "redis"),
        check=lambda: _check(layout, service.name),
    )


def _check(layout: Layout, service: str) -> None:
    http_get(f"http://{layout.address(service)}/health")
