"""What every process says of itself over HTTP: what it counts, that it lives, and whether it is ready.

Services answer on their own port, all others at MAREA_METRICS_ADDRESS.
"""

import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from kernel import settings
from kernel.metrics import REGISTRY

log = logging.getLogger(__name__)

METRICS, LIVE, READY = "/metrics", "/health/live", "/health/ready"
METRICS_TYPE = CONTENT_TYPE_PLAIN_0_0_4
#: What is answered by whoever lives, and by who is ready.
OK = {"status": "ok"}

#: Returns when the process is ready, and raises with the reason when it is not.
Check = Callable[[], None]


def exposition() -> bytes:
    """All that this process has counted, as Prometheus reads it."""
    return generate_latest(REGISTRY)


def serve(check: Check) -> None:
    """Answers at MAREA_METRICS_ADDRESS, in a thread, for as long as the process lives; does nothing when it is not set.

    To be called by the process that does the work, after a fork. Raises OSError when the address is taken.
    """
    if address := settings.metrics_address():
        host, _, port = address.rpartition(":")
        server = Server((host, int(port)), check)
        Thread(target=server.serve_forever, name="health", daemon=True).start()


class Server(ThreadingHTTPServer):
    """A process's answers about itself."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], check: Check) -> None:
        super().__init__(address, _Handler)
        self.check = check


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = 10  # seconds for a request to come
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """One of the three."""
        if self.path == METRICS:
            self._answer(HTTPStatus.OK, METRICS_TYPE, exposition())
        elif self.path == LIVE:
            self._say(HTTPStatus.OK, OK)
        elif self.path == READY:
            self._say_whether_ready()
        else:
            self._say(HTTPStatus.NOT_FOUND, {"status": f"there are {METRICS}, {LIVE} and {READY}"})

    def _say_whether_ready(self) -> None:
        try:
            self.server.check()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "not ready", "reason": str(error).strip()})
        else:
            self._say(HTTPStatus.OK, OK)

    def _say(self, status: HTTPStatus, body: dict[str, str]) -> None:
        self._answer(status, "application/json", json.dumps(body).encode())

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name in the library
        """Nothing: it is asked every few seconds."""
