"""Calls to a company outside: what is an answer and what is none, and how one that gives none is left alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Thread
from typing import Any

import pytest

from api.payments.simulated import SimulatedProvider
from api.shipping.simulated import SimulatedCarrier
from kernel import outside
from kernel.metrics import REGISTRY
from kernel.outside import MOST_FAILURES, Outside
from kernel.tasks import NoAnswer, NotTried

PATIENCE_S, POLL_S = 20.0, 0.01
TELLS_DONE = b'{"id":"o.1","kind":"void","status":"succeeded","amount_minor":1,"authorization":"a","code":null}'


class Company(ThreadingHTTPServer):
    """Answers what it is told to, as it stands: bytes of HTTP."""

    daemon_threads = True
    answer = b""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        #: So many calls have to be under way before any is answered.
        self.together = Barrier(1)

    def says(self, status: int, body: bytes) -> None:
        self.answer = b"HTTP/1.1 %d Said\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Company

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.server.asked.append(f"{self.command} {self.path} {self.headers.get('Idempotency-Key')}")
        self.server.together.wait(PATIENCE_S)
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name in the library
        """Says nothing."""


@contextmanager
def running() -> Iterator[Company]:
    with Company() as server:
        thread = Thread(target=server.serve_forever, args=(POLL_S,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def company() -> Iterator[Company]:
    with running() as server:
        yield server


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (503, TELLS_DONE),
        (401, b"{}"),
        (302, b"{}"),
        (404, b"{}"),
        (422, b'{"detail": "the key is that of another operation"}'),
        (200, b""),
        (200, b"<html>"),
        (200, TELLS_DONE[:-9]),
        (200, b"{}"),
        (200, TELLS_DONE.replace(b"o.1", b"o.2")),
        (200, TELLS_DONE.replace(b"succeeded", b"perhaps")),
        (200, TELLS_DONE.replace(b":1,", b':"1",')),
    ],
)
def test_what_does_not_say_what_became_of_it_is_no_answer(company: Company, status: int, body: bytes) -> None:
    """Money is never decided by it: neither done, nor a definite no."""
    company.says(status, body)
    with pytest.raises(NoAnswer) as found:
        SimulatedProvider(company.url, "key").void("o.1", "a")
    assert not isinstance(found.value, NotTried)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + TELLS_DONE, b"no HTTP"])
def test_half_an_answer_is_none(company: Company, sent: bytes) -> None:
    company.answer = sent
    provider = SimulatedProvider(company.url, "key")
    with pytest.raises(NoAnswer, match="payment provider: POST /authorizations/a/void"):
        provider.void("o.1", "a")
    with pytest.raises(NoAnswer, match=r"payment provider: GET /operations/o\.1"):
        provider.lookup("o.1")
    assert len(company.asked) == 2, "it is tried again by tasks alone"


def test_who_is_not_there_gives_no_answer() -> None:
    with running() as company:
        url = company.url
    with pytest.raises(NoAnswer, match="carrier: GET /parcels/t"):
        SimulatedCarrier(url, "key").lookup("t")


def test_who_says_that_there_is_none_has_to_say_it_in_its_own_words(company: Company) -> None:
    """404 is what many a proxy answers, too."""
    company.says(404, b"<html>not found</html>")
    with pytest.raises(NoAnswer):
        SimulatedProvider(company.url, "key").lookup("o.1")
    company.says(404, b'{"detail": "none"}')
    assert SimulatedProvider(company.url, "key").lookup("o.1") is None


def test_ids_cant_lead_elsewhere(company: Company) -> None:
    company.says(404, b"{}")
    SimulatedProvider(company.url, "key").lookup("../ledger?after=1")
    assert company.asked == ["GET /operations/..%2Fledger%3Fafter%3D1 None"]


def test_an_answer_that_is_too_large_is_none(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "_MOST_BYTES", 100)
    company.says(200, b"[%s]" % (b" " * 200))
    with pytest.raises(NoAnswer, match="larger than 100 bytes"):
        Outside("large", company.url, "key").get("/")


def test_who_gives_no_answer_so_many_times_is_left_alone_for_a_while(company: Company) -> None:
    called = Outside("resting", company.url, "key", rest_s=3_600)
    company.says(500, b"{}")
    for _ in range(MOST_FAILURES):
        assert breaker_open("resting") == 0
        with pytest.raises(NoAnswer, match="answered by 500"):
            called.get("/")
    assert breaker_open("resting") == 1
    company.says(200, b"{}")
    with pytest.raises(NotTried, match="left alone for 3600 s"):
        called.get("/")
    assert len(company.asked) == MOST_FAILURES


def test_one_answer_is_enough_to_be_called_again(company: Company) -> None:
    called = Outside("back", company.url, "key", rest_s=-1)  # its rest is over at once
    company.says(500, b"{}")
    for _ in range(MOST_FAILURES + 1):
        with pytest.raises(NoAnswer, match="answered by 500"):
            called.get("/")
    company.says(200, b"{}")
    called.get("/")
    assert breaker_open("back") == 0


def test_an_alert_ends_with_the_rest_though_nobody_calls_any_more(company: Company) -> None:
    """Another worker may have made the call that was answered."""
    called = Outside("rested", company.url, "key", rest_s=-1)
    company.says(500, b"{}")
    for _ in range(MOST_FAILURES):
        with pytest.raises(NoAnswer, match="answered by 500"):
            called.get("/")
    assert breaker_open("rested") == 0


@pytest.mark.parametrize("status", [404, 409, 422])
def test_who_refuses_has_answered_and_is_not_left_alone(company: Company, status: int) -> None:
    called = Outside("refusing", company.url, "key", rest_s=3_600)
    company.says(status, b"{}")
    for _ in range(2 * MOST_FAILURES):
        with pytest.raises(NoAnswer, match=f"answered by {status}"):
            called.post("/", "k", {})
    assert breaker_open("refusing") == 0


def test_calls_do_not_wait_for_each_other(company: Company) -> None:
    """There is one breaker for all threads, and no lock around what they call."""
    company.together = Barrier(4)
    company.says(200, b"{}")
    called = Outside("parallel", company.url, "key")
    threads = [Thread(target=called.get, args=("/",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(company.asked) == 4


def breaker_open(name: str) -> float | None:
    return REGISTRY.get_sample_value("marea_breaker_open", {"name": name})
