"""Whatever bytes come to the front door: the answer is a problem of the right status, or a connection that ends."""

import json
import socket
from collections.abc import Mapping
from http.client import HTTPResponse
from itertools import product
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from kernel import settings
from tests.stack.shop import Shop

pytestmark = pytest.mark.usefixtures("stack")

MILK = "GET /v1/products/milk HTTP/1.1"


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


def send(head: str | bytes, *headers: str, body: bytes = b"", host: str | None = "Host: shop") -> Answer:
    """Sends a request line or other bytes, with these headers, as they are; no client would send some of them."""
    first = head.encode("latin-1") if isinstance(head, str) else head
    lines = [first, *(line.encode("latin-1") for line in (host, *headers) if line is not None)]
    return exchange(b"\r\n".join(lines) + b"\r\n\r\n" + body)


def exchange(content: bytes) -> Answer:
    address = urlsplit(settings.setting("API_URL"))
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(content)
        method = content.partition(b" ")[0].decode("latin-1")
        answer = HTTPResponse(connection, method="HEAD" if method == "HEAD" else "GET")
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, headers, answer.read())


def problem(answer: Answer, status: int) -> dict[str, Any]:
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json", answer
    body: dict[str, Any] = json.loads(answer.body)
    assert (body["status"], bool(body["title"]), bool(body["detail"])) == (status, True, True)
    return body


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (f"GET /v1/products/{'a' * 5_000} HTTP/1.1", 422),
        (f"GET /v1/products/{'a' * 9_000} HTTP/1.1", 414),
        (f"GET /v1/stock?below={'1' * 9_000} HTTP/1.1", 414),
        (f"GET /{'a/' * 2_000} HTTP/1.1", 404),
        ("GET /v1/products/%00 HTTP/1.1", 400),
        ("GET /v1/products/%zz HTTP/1.1", 400),
        ("GET /v1/products/% HTTP/1.1", 400),
        ("GET /v1/products/%ff HTTP/1.1", 422),
        ("GET /v1/products/\xe9 HTTP/1.1", 400),
        ("GET /v1/products/<a> HTTP/1.1", 400),
        ("GET /v1/products/a#b HTTP/1.1", 400),
        ('GET /v1/products/a"b HTTP/1.1', 400),
        ("GET /v1/products/a|b HTTP/1.1", 400),
        ("GET /v1/stock?below=%ff HTTP/1.1", 422),
        ("GET /v1/stock?below=\xff HTTP/1.1", 400),
        ("GET /v1/stock?below=%00 HTTP/1.1", 422),
        ("GET /v1/../../etc/passwd HTTP/1.1", 400),
        ("GET /v1/products/%2e%2e/%2e%2e/%2e%2e/etc/passwd HTTP/1.1", 400),
        ("GET /v1/products/%2e%2e/stock/milk HTTP/1.1", 404),
        ("GET /v1/products/a%2fb HTTP/1.1", 404),
        ("GET /docs/%2e%2e/openapi.json HTTP/1.1", 404),
        ("GET /docs/css HTTP/1.1", 404),
        ("GET /docs/css/ HTTP/1.1", 404),
        ("GET /v1 HTTP/1.1", 404),
        ("GET /v1/ HTTP/1.1", 404),
        ("GET /health HTTP/1.1", 404),
        ("GET /problem/404 HTTP/1.1", 404),
        ("GET /v1/products/ HTTP/1.1", 404),
        ("GET /v1//products/milk HTTP/1.1", 404),
        ("GET /v1/products//milk HTTP/1.1", 404),
        ("GET //evil.example/ HTTP/1.1", 404),
        ("GET //evil.example/%2e%2e HTTP/1.1", 404),
        ("GET http://evil.example/v1//products/milk HTTP/1.1", 404),
        ("GET http://evil.example HTTP/1.1", 200),
        ("GET evil.example HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("GET /v1/products/milk HTTP/2.0", 505),
        ("GET /v1/products/milk HTTP/9.9", 505),
        ("GET /v1/products/milk HTTP/one", 400),
        ("GET /v1/products/milk HTTX/1.1", 400),
        ("GET", 400),
        ("get /v1/products/milk HTTP/1.1", 400),
        ("", 400),
    ],
    ids=lambda value: str(value)[:60],
)
def test_an_address_that_can_not_be_meant_is_a_problem(line: str, status: int) -> None:
    answer = send(line)
    assert "location" not in answer.headers
    if status >= 400:
        problem(answer, status)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((f"X-Long: {'a' * 9_000}",), 431),
        (tuple(f"X-{number}: {'a' * 900}" for number in range(60)), 431),
        ((f"If-Match: {'a' * 7_000}",), 404),
        (tuple(f"X-{number}: 1" for number in range(120)), 404),
        (("If-None-Match: a\x01",), 400),
        (("If-None-Match: \xe9",), 404),
        (("X-Any: a\x01\x7f\xff",), 404),
        (("X-Any: a\x00b",), 400),
        (("X Any: a",), 400),
        (("Host: other",), 400),
        (("Transfer-Encoding: gzip",), 501),
        (("Transfer-Encoding: gzip, chunked",), 501),
        (("Content-Length: many",), 400),
        (("Content-Length: -1",), 400),
        (("Content-Length: 1", "Content-Length: 2"), 400),
        (("Content-Length: 3", "Transfer-Encoding: chunked"), 400),
        (("Content-Length: 99999999999999999999999",), 400),
        (("Content-Length: 5000000",), 413),
        (("Expect: the-unexpected",), 404),
        (("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), 404),
        (("Upgrade: websocket", "Connection: Upgrade"), 404),
    ],
    ids=lambda value: str(value)[:60],
)
def test_headers_that_can_not_be_meant_are_a_problem_and_others_harmless(
    headers: tuple[str, ...], status: int
) -> None:
    problem(send("GET /v1/products/none HTTP/1.1", *headers), status)


def test_a_request_without_a_host_is_a_problem() -> None:
    problem(send(MILK, host=None), 400)
    problem(send(MILK, host="Host: a b"), 400)
    assert send("GET /v1/products/none HTTP/1.0", host=None).status == 404


@pytest.mark.parametrize(
    "content",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 200 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
        b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00\r\n\r\n",
    ],
    ids=["TLS", "HTTP/2", "zeros", "SOCKS"],
)
def test_what_is_not_http_is_a_problem(content: bytes) -> None:
    assert exchange(content).status in (400, 505)
    assert exchange(content).headers["content-type"] == "application/problem+json"


#: A method that each has.
PATHS = {
    "/": "GET",
    "/docs/": "GET",
    "/docs/css/swagger-ui.css": "GET",
    "/v1/openapi.json": "GET",
    "/v1/products": "POST",
    "/v1/products:batch": "POST",
    "/v1/products/milk": "GET",
    "/v1/stock/milk/receipts": "POST",
    "/v1/orders": "POST",
}


WRONG = ["POST", "DELETE", "TRACE", "CONNECT", "PROPFIND", "FOO"]
RIGHT = {*PATHS.items(), ("/v1/products/milk", "DELETE")}


@pytest.mark.parametrize(("path", "method"), [each for each in product(PATHS, WRONG) if each not in RIGHT])
def test_a_method_that_a_path_does_not_have_is_refused_with_those_that_it_has(path: str, method: str) -> None:
    answer = send(f"{method} {path} HTTP/1.1", "Content-Length: 0")
    problem(answer, 405)
    assert PATHS[path] in answer.headers["allow"]
    assert method not in answer.headers["allow"]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_tells_of_its_methods_in_html(path: str) -> None:
    answer = send(f"OPTIONS {path} HTTP/1.1")
    assert answer.status in (204, 405)
    assert "html" not in answer.headers.get("content-type", "")
    assert PATHS[path] in answer.headers["allow"]


def test_a_method_at_a_path_that_is_not_there_is_a_problem() -> None:
    problem(send("TRACE /v1/products/a/b/c HTTP/1.1"), 404)
    problem(send("CONNECT evil.example:443 HTTP/1.1"), 400)
    answer = send("POST /nowhere HTTP/1.1", "Content-Length: 0")
    problem(answer, 404)


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (("Transfer-Encoding: chunked",), b"nonsense\r\n\r\n", 400),
        (("Transfer-Encoding: chunked",), b"5\r\n{}\r\n0\r\n\r\n", 400),
        (("Transfer-Encoding: chunked",), b"2\r\n{}\r\n0\r\n\r\n", 422),
        (("Transfer-Encoding: chunked",), b"500000\r\n" + b" " * 0x500000 + b"\r\n0\r\n\r\n", 413),
        (("Content-Length: 2", "Expect: 100-continue"), b"{}", 422),
        (("Content-Length: 2", "Content-Encoding: br"), b"{}", 415),
        (("Content-Length: 2", "Content-Encoding: gzip"), b"{}", 400),
        (("Content-Length: 17",), b'{"sku":1,"sku":2}', 400),
    ],
)
def test_a_body_that_can_not_be_meant_is_a_problem(headers: tuple[str, ...], body: bytes, status: int) -> None:
    kind = "Content-Type: application/json"
    problem(send("POST /v1/products HTTP/1.1", kind, *headers, body=body), status)


def test_a_body_that_stays_half_sent_is_nobodys_command() -> None:
    shop = Shop()
    body = json.dumps(shop.product("milk")).encode()
    head = f"POST /v1/products HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    address = urlsplit(settings.setting("API_URL"))
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode() + body[:-1])
        connection.shutdown(socket.SHUT_WR)
        assert b"text/html" not in connection.recv(4096)
    assert shop.post("/products", shop.product("milk")).status_code == 201


@pytest.mark.parametrize("line", ["GET / HTTP/1.1", "GET /docs HTTP/1.1", "GET /docs/ HTTP/1.1"])
def test_the_page_to_try_the_api_is_there_without_a_redirect(line: str) -> None:
    answer = send(line)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html")
    for path in ("/docs/css/swagger-ui.css", "/docs/js/swagger-ui-bundle.js", "/v1/openapi.json"):
        assert path.encode() in answer.body
        assert send(f"GET {path} HTTP/1.1").status == 200


def test_a_range_and_conditions_of_a_file_that_do_not_hold_are_problems() -> None:
    problem(send("GET /v1/openapi.json HTTP/1.1", "Range: bytes=99999999-"), 416)
    problem(send("GET /v1/openapi.json HTTP/1.1", 'If-Match: "x"'), 412)


def test_a_read_is_not_sent_again_to_whom_has_it() -> None:
    shop = Shop()
    sku = shop.stocked("milk", 10)
    answer = shop.get(f"/stock/{sku}")
    tag = answer.headers["etag"]
    line = f"/v1/stock/{sku} HTTP/1.1"
    for method in ("GET", "HEAD"):
        same = send(f"{method} {line}", f'If-None-Match: "x", W/{tag}')
        assert (same.status, same.headers["etag"], same.body) == (304, tag, b"")
    assert send(f"GET {line}", 'If-None-Match: "0"').status == 200
    problem(send(f"GET {line}", "If-None-Match: 1"), 400)
