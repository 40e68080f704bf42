"""The services: each under Granian, or, if it is of asyncio, in a process of aiohttp."""

import sys
from importlib.metadata import version
from typing import NamedTuple

from api.manifest import Service
from api.services import services
from local.layout import HOST, Layout, chosen
from local.program import Program, http_get
from local.programs.nginx import WORKER_CONNECTIONS
from local.sources import python_sources

#: Granian counts connections here, idle ones as well. nginx has at most so many, so none is left waiting.
_CONNECTIONS = WORKER_CONNECTIONS


def programs(layout: Layout) -> tuple[Program, ...]:
    """One program a service."""
    return tuple(_program(layout, each) for each in services())


def manifests() -> tuple[str, ...]:
    """The modules in which services are declared: whatever asks for services or consumers imports all of them."""
    return tuple(f"api.{each.name}.service" for each in services())


def _program(layout: Layout, service: Service) -> Program:
    database = (f"{service.name.upper()}_DATABASE_URL",) if service.has_database else ()
    server = server_of(service, HOST, layout.port_of(service.name))
    return Program(
        name=service.name,
        version=server.version,
        port=layout.port_of(service.name),
        command=(
            # On a machine that is too busy, what has been accepted is carried before more is.
            *("nice", "-n", "5"),
            *(sys.executable, "-m", *server.command),
        ),
        environment={
            **layout.environment_for("PARTITIONS", "KAFKA", "REGISTRY_URL", "REDIS_URL", *database, *service.secrets),
            "MAREA_SERVICE": service.name,
            **chosen(service.settings),
        },
        sources=lambda: python_sources(server.module, f"api.{service.name}", *manifests()),
        after=("migrations", "schemas", "starts", "redis"),
        check=lambda: _check(layout, service.name),
    )


class Server(NamedTuple):
    """What runs a service: `module` is where the service is put together, `command` is Python's."""

    version: str
    module: str
    command: tuple[str, ...]


def server_of(service: Service, host: str, port: int) -> Server:
    """What runs a service that listens at this address."""
    return _aiohttp(host, port) if service.is_asyncio else _granian(service, host, port)


def _granian(service: Service, host: str, port: int) -> Server:
    command = (
        *("granian", "--interface", "wsgi", "--factory", "api.wsgi:from_settings"),
        *("--host", host, "--port", str(port), "--http", "1", "--no-ws"),
        *("--workers", str(service.processes), "--blocking-threads", str(service.threads)),
        *("--backpressure", str(_CONNECTIONS), "--respawn-failed-workers"),
        *("--workers-kill-timeout", "5", "--log-level", "warning"),
    )
    return Server(f"granian {version('granian')}", "api.wsgi", command)


def _aiohttp(host: str, port: int) -> Server:
    return Server(f"aiohttp {version('aiohttp')}", "api.aio", ("api.aio", host, str(port)))


def _check(layout: Layout, service: str) -> None:
    http_get(f"http://{layout.address(service)}/health/ready")
