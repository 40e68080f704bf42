"""The companies outside, simulated: a provider of payments and a carrier. They know Marea's front door, and nothing else."""

import sys
from importlib.metadata import version
from pathlib import Path

from local.layout import HOST, Layout
from local.program import Program, http_get
from local.sources import python_sources

_NAMES = ("provider", "carrier")


def programs(layout: Layout) -> tuple[Program, ...]:
    """One program a company."""
    return tuple(_program(layout, name) for name in _NAMES)


def command_of(layout: Layout, name: str, host: str, port: int, data: Path) -> tuple[str, ...]:
    """Python's arguments that serve a company at this address, with its database in a folder."""
    webhooks = f"http://{layout.address('nginx')}/v1/webhooks/{name}"
    serving = ("--host", host, "--port", str(port), "--data", str(data), "--webhooks", webhooks)
    return ("-m", f"demo.{name}", *serving)


def _program(layout: Layout, name: str) -> Program:
    port = layout.port_of(name)
    return Program(
        name=name,
        version=f"aiohttp {version('aiohttp')}",
        port=port,
        command=(sys.executable, *command_of(layout, name, HOST, port, layout.data(name))),
        environment=layout.environment_for(f"{name.upper()}_KEY", f"{name.upper()}_WEBHOOK_SECRETS"),
        sources=lambda: python_sources(f"demo.{name}.__main__"),
        check=lambda: _check(layout, name),
    )


def _check(layout: Layout, name: str) -> None:
    http_get(f"http://{layout.address(name)}/health/ready")
