"""Debian's exporters: what PostgreSQL, Redis and nginx say of themselves, for Prometheus."""

import re
import subprocess
from collections.abc import Mapping
from functools import partial

from local.layout import Layout
from local.program import Program, http_get


def programs(layout: Layout) -> tuple[Program, ...]:
    """One for each of them."""
    user, password = "exporter", layout.secrets["exporter"]
    postgresql = f"postgresql://{user}:{password}@{layout.address('postgresql')}/postgres?sslmode=disable"
    redis = {"REDIS_ADDR": layout.address("redis"), "REDIS_PASSWORD": layout.secrets["redis"]}
    status = f"http://{layout.address('nginx-status')}/status"
    return (
        _program(layout, "postgresql", "prometheus-postgres-exporter", "--", {"DATA_SOURCE_NAME": postgresql}),
        _program(layout, "redis", "prometheus-redis-exporter", "-", redis),
        _program(layout, "nginx", "prometheus-nginx-exporter", "-", {"SCRAPE_URI": status}),
    )


def _program(layout: Layout, of: str, command: str, dashes: str, environment: Mapping[str, str]) -> Program:
    """Each takes flags with dashes of its own, and where it looks from its environment, which shows no password."""
    name = f"{of}-exporter"
    address = layout.address(name)
    return Program(
        name=name,
        version=version_of(command, f"{dashes}version"),
        port=layout.port_of(name),
        command=(command, f"{dashes}web.listen-address={address}"),
        environment=environment,
        after=(of, "server"),
        check=partial(_check, address),
    )


def version_of(command: str, flag: str) -> str:
    """What a program says of its version, in its own words; empty when it says none."""
    said = subprocess.run([command, flag], check=False, capture_output=True, text=True)
    found = re.search(r"\d+\.\d+(\.\d+)*", said.stdout + said.stderr)
    return found[0] if found else ""


def _check(address: str) -> None:
    http_get(f"http://{address}/metrics")
