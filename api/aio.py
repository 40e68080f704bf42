"""What serves a service of asyncio: `python -m api.aio HOST PORT`. Here it is given what the settings name."""

import logging
import resource
import socket
import sys

from aiohttp import web

from api.services import service
from api.web.aio import AsyncApp
from api.wsgi import resources
from kernel import settings

#: Connections that wait to be accepted, and bytes that the kernel keeps for one whose client takes nothing.
_BACKLOG, _SEND_BUFFER_BYTES = 1_024, 65_536
#: Seconds that streams may take to end.
_SHUTDOWN_S = 2.0


def main(host: str, port: int) -> None:
    """Serves until SIGTERM. Raises LookupError when there is no such service, or a setting is missing."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    each = service(settings.service())
    app = each.create_app(resources(each))
    assert isinstance(app, AsyncApp), f"{each.name} is not of asyncio, whatever its manifest says"
    _allow_many_connections()
    web.run_app(
        app.application,
        sock=listen(host, port),
        backlog=_BACKLOG,
        access_log=None,
        print=None,
        shutdown_timeout=_SHUTDOWN_S,
        handler_cancellation=True,  # who hangs up is not served any more
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket whose connections keep little of what their clients do not take."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections have it from here. What the kernel chooses may be megabytes.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    listening.bind((host, port))
    return listening


def _allow_many_connections() -> None:
    """As many files as we may have open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
