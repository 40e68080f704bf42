"""The simulated companies as processes of their own, and somebody whom they tell what becomes of things."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Thread
from time import monotonic, sleep
from typing import Any

import requests

KEY, SECRETS = "key of the test", ("new secret", "old secret")
PATIENCE_S = 20.0

#: Headers and body of one message.
Message = tuple[Mapping[str, str], bytes]


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Receiver(ThreadingHTTPServer):
    """Takes what it is told; refuses the next `refusals`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.messages: list[Message] = []
        self.refusals = 0
        self.came = Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/webhooks"

    def wait_for(self, number: int, about: str) -> list[Message]:
        """The messages with this in them, once there are so many."""

        def found() -> list[Message]:
            return [each for each in self.messages if about.encode() in each[1]]

        with self.came:
            assert self.came.wait_for(lambda: len(found()) >= number, PATIENCE_S), f"{len(found())} of {number} came"
            return found()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.came:
            refuses = self.server.refusals > 0
            if refuses:
                self.server.refusals -= 1
            else:
                self.server.messages.append((dict(self.headers), body))
            self.server.came.notify_all()
        self.send_response(HTTPStatus.SERVICE_UNAVAILABLE if refuses else HTTPStatus.NO_CONTENT)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name in the library
        """Says nothing."""


@contextmanager
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Company:
    """`python -m demo.<name>`, on a free port, with its database in a folder."""

    def __init__(self, name: str, folder: Path, webhooks: str, *options: str) -> None:
        self._name = name
        self._port = free_port()
        self._command = [
            *(sys.executable, "-m", f"demo.{name}", "--port", str(self._port), "--data", str(folder)),
            *("--webhooks", webhooks, *options),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        upper = self._name.upper()
        own = {f"MAREA_{upper}_KEY": KEY, f"MAREA_{upper}_WEBHOOK_SECRETS": ",".join(SECRETS)}
        self._process = subprocess.Popen(self._command, env={**os.environ, **own})
        until(self._is_up)

    def kill(self) -> None:
        """As if the machine's memory had run out."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ends it as its supervisor does; it ends by itself, and well."""
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(PATIENCE_S) == 0

    def post(self, path: str, content: Mapping[str, Any], **headers: str) -> requests.Response:
        sent = {"Authorization": f"Bearer {KEY}", **headers}
        return requests.post(self.url + path, json=content, headers=sent, timeout=PATIENCE_S)

    def _is_up(self) -> bool:
        try:
            return requests.get(f"{self.url}/health/ready", timeout=PATIENCE_S).ok
        except requests.ConnectionError:
            return False


def until(holds: Callable[[], bool]) -> None:
    """Waits until something holds."""
    end = monotonic() + PATIENCE_S
    while not holds():
        assert monotonic() < end, "it does not come to hold"
        sleep(0.01)
