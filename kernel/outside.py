"""Calls to a company outside, over HTTP: what it answers, or NoAnswer. They are made by tasks, which try them again."""

from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
import urllib3
from circuitbreaker import CircuitBreaker

from kernel.metrics import BREAKER_OPEN, gauge
from kernel.tasks import NoAnswer, NotTried

#: Seconds for a call: to connect, and in all. A task's lease is longer.
CONNECT_TIMEOUT_S, TIMEOUT_S = 2.0, 5.0
#: After so many calls in a row without an answer none is made, for so many seconds.
MOST_FAILURES, REST_S = 10, 5
#: So many connections are kept, and no more are opened at once.
_CONNECTIONS = 32
_MOST_BYTES = 4 * 1024 * 1024
#: Answers that say something of the company, and nothing of what was asked.
_UNFIT = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}


class Answer(NamedTuple):
    """What came back: the HTTP status, and the body's value."""

    status: int
    content: Any


class Outside:
    """One company. Threads may share it."""

    def __init__(self, name: str, url: str, key: str, rest_s: int = REST_S) -> None:
        """`name` is what it is called in errors and metrics; `key` is what it knows us by.

        After MOST_FAILURES calls in a row without an answer it is left alone for `rest_s`.
        """
        self._name, self._url, self._rest_s = name, url.rstrip("/"), rest_s
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, total=TIMEOUT_S)
        self._pool = urllib3.PoolManager(maxsize=_CONNECTIONS, block=True, timeout=timeout, retries=False)
        self._breaker = CircuitBreaker(MOST_FAILURES, rest_s, NoAnswer, name)
        gauge(BREAKER_OPEN).labels(name).set_function(lambda: float(self._breaker.opened))

    def post(self, path: str, key: str, content: Mapping[str, Any]) -> Answer:
        """Asks for something to be done, once for the same key. Raises NoAnswer when it is not said what became of it."""
        return self._ask("POST", path, {"Idempotency-Key": key}, orjson.dumps(content), {HTTPStatus.OK})

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Answer:
        """Reads; the status is 200, or 404 when the company says that there is none. Raises NoAnswer."""
        return self._ask("GET", path, {}, None, {HTTPStatus.OK, HTTPStatus.NOT_FOUND}, query)

    def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        known: Collection[int],
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        what = f"{self._name}: {method} {path}"
        if self._breaker.opened:
            raise NotTried(f"{what}: not tried, as it has given no answer lately; it is left alone for {self._rest_s} s")
        with self._breaker:
            status, sent = self._send(what, method, path, headers, body, query)
        try:
            content = orjson.loads(sent)
        except ValueError as error:
            raise NoAnswer(f"{what}: the answer ({status}) is no JSON") from error
        if status not in known:
            raise NoAnswer(f"{what}: answered by {status}: {content}")
        return Answer(status, content)

    def _send(
        self,
        what: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        query: Mapping[str, str] | None,
    ) -> tuple[int, bytes]:
        try:
            answer = self._pool.request(
                method, self._url + path, body=body, fields=query, headers={**self._headers, **headers},
                preload_content=False, redirect=False,
            )
            content = answer.read(_MOST_BYTES + 1)
            answer.close() if len(content) > _MOST_BYTES else answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise NoAnswer(f"{what}: {error!r}") from error
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status in _UNFIT:
            raise NoAnswer(f"{what}: answered by {answer.status}: {content[:200].decode(errors='replace')}")
        if len(content) > _MOST_BYTES:
            raise NoAnswer(f"{what}: the answer is larger than {_MOST_BYTES:,} bytes")
        return answer.status, content
