"""Redis, for the views. What was acknowledged survives a kill of the process; a power cut may cost a second."""

import subprocess
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from local.layout import HOST, Layout
from local.program import NotReady, Program, at_least

_SETTINGS = """
bind {host}
port {port}
{password}
dir "{data}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
"""


def program(layout: Layout) -> Program:
    """One server."""
    settings = layout.run / "redis.conf"
    found = _version()
    return Program(
        name="redis",
        version=found,
        port=layout.port_of("redis"),
        command=("redis-server", str(settings)),
        examine=lambda: at_least("Redis", found, (6, 2), "for ZRANGE BYSCORE and COPY"),
        files={
            settings: configuration(
                HOST,
                layout.port_of("redis"),
                f"requirepass {layout.secrets['redis']}",
                layout.data("redis"),
            )
        },
        prepare=lambda: layout.data("redis").mkdir(mode=0o700, exist_ok=True),
        check=lambda: _check(layout),
    )


def _version() -> str:
    said = subprocess.run(["redis-server", "--version"], check=True, capture_output=True, text=True).stdout
    return said.partition("v=")[2].split()[0]


def configuration(host: str, port: int, password: str, data: Path) -> str:
    """The server's settings; `password` is the one that says it, or where it is."""
    return _SETTINGS.format(host=host, port=port, password=password, data=data)


def _check(layout: Layout) -> None:
    try:
        with Redis.from_url(layout.environment["MAREA_REDIS_URL"], socket_timeout=2) as client:
            client.ping()
    except RedisError as error:
        raise NotReady(str(error)) from error
