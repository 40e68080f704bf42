"""Bad requests: each gets its own clear problem, before anything is asked of a database."""

import gzip
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson
import pytest
from backports import zstd
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from api.services import services as all_services
from api.web import bodies
from api.web.requests import MAX_BODY_BYTES
from api.wsgi import create_app
from kernel.refusals import Malformed
from kernel.token import Version, encode

PRODUCT = {"name": "Milk", "department": "", "category": "", "brand": "", "price_minor": 1, "currency": "USD"}
LINE = {"sku": "milk", "quantity": 1}
ORDER: dict[str, Any] = {"customer_id": "7", "lines": [LINE]}
KEY = {"Idempotency-Key": "key"}
OPERATOR_KEY = "of the operator"
STAFF = KEY | {"Authorization": f"Bearer {OPERATOR_KEY}"}
UNKNOWN_ORDER = "/v1/orders/01900000-0000-7000-8000-000000000001"


class Command(NamedTuple):
    """A route that takes a body: one that it takes, and the headers that it needs."""

    method: str
    path: str
    body: dict[str, Any]
    headers: dict[str, str]


COMMANDS = [
    Command("POST", "/v1/products", PRODUCT | {"sku": "milk"}, {}),
    Command("POST", "/v1/products:batch", {"products": [PRODUCT | {"sku": "milk"}]}, {}),
    Command("PUT", "/v1/products/milk", PRODUCT, {}),
    Command("PATCH", "/v1/products/milk", {"price_minor": 1}, {}),
    Command("POST", "/v1/stock/milk/receipts", {"quantity": 1}, KEY),
    Command("POST", "/v1/stock:receive", {"receipts": [{"sku": "milk", "quantity": 1}]}, KEY),
    Command("POST", "/v1/stock/milk/adjustments", {"quantity": 1, "reason": "found"}, KEY),
    Command("POST", "/v1/orders", ORDER, KEY),
]


class Services:
    """All services at one address, as behind the front door; their databases are down."""

    def __init__(self) -> None:
        self._clients: dict[str, FlaskClient] = {}
        for each in [each for each in all_services() if not each.is_asyncio]:
            self._clients |= dict.fromkeys(each.paths, create_app(each.name).test_client())

    def send(self, method: str, path: str, data: Any = None, **headers: str) -> TestResponse:
        """`data` is a value for JSON, or bytes as they are."""
        client = self._clients[path.split("/")[2].partition(":")[0].partition("?")[0]]
        content = data if isinstance(data, bytes) else None if data is None else orjson.dumps(data)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Content-Type": "application/json"} | names
        return client.open(path, method=method, data=content, headers=sent)

    def give(self, command: Command, data: Any, **headers: str) -> TestResponse:
        """Sends other data, or other headers, than the command's."""
        return self.send(command.method, command.path, data, **(command.headers | headers))


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    nowhere = "127.0.0.1:1"  # nothing listens on port 1
    with pytest.MonkeyPatch.context() as environment:
        for each in all_services():
            environment.setenv(f"MAREA_{each.name.upper()}_DATABASE_URL", f"postgresql://{each.name}@{nowhere}/marea")
        environment.setenv("MAREA_REDIS_URL", f"redis://{nowhere}")
        environment.setenv("MAREA_KAFKA", nowhere)
        environment.setenv("MAREA_PARTITIONS", "4")
        for name in {name for each in all_services() for name in each.secrets}:
            environment.setenv(f"MAREA_{name}", OPERATOR_KEY)
        environment.setenv("MAREA_REGISTRY_URL", f"http://{nowhere}")
        yield Services()


def problem(answer: TestResponse, status: int) -> dict[str, Any]:
    """The answer as a problem; fails when it is none of that status."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    body: dict[str, Any] = answer.get_json(force=True)
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body


def fields(answer: TestResponse, status: int = 422) -> list[str]:
    return [error["field"] for error in problem(answer, status)["errors"]]


each_command = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.path)


@each_command
def test_a_good_request_to_a_service_whose_database_is_down_may_be_tried_again(
    services: Services, command: Command
) -> None:
    answer = services.give(command, command.body)
    problem(answer, 503)
    assert answer.headers["Retry-After"] == "1"


@each_command
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"nonsense",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b"[" * 100_000,
        b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}",
        b"9" * 400,
        b'{"a": 1e999}',
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
    ],
    ids=[
        *("empty", "cut off", "no JSON", "quotes", "NaN", "not UTF-8", "half a surrogate", "deep", "rather deep"),
        *("endless", "infinite", "BOM", "UTF-16"),
    ],
)
def test_malformed_json_is_a_bad_request(services: Services, command: Command, content: bytes) -> None:
    assert "JSON" in problem(services.give(command, content), 400)["detail"]


@each_command
@pytest.mark.parametrize("value", [[], "text", 1, True, "{}", [{}]])
def test_a_body_that_is_not_an_object_is_refused(services: Services, command: Command, value: Any) -> None:
    problem(services.give(command, value), 422)


@each_command
@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""]
)
def test_another_media_type_is_refused(services: Services, command: Command, media_type: str) -> None:
    problem(services.give(command, command.body, Content_Type=media_type), 415)


@each_command
def test_a_body_that_is_too_large_is_refused(services: Services, command: Command) -> None:
    problem(services.give(command, b" " * (MAX_BODY_BYTES + 1)), 413)


@each_command
@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b'{"a": 1, "a": 2}', "a"),
        (b'{"a": 1, "b": [{"c": ":", "d": {}, "c": {"e": 1}}]}', "c"),
        (b'{"a": "\\u003a", "b": 1, "b": 2}', "b"),
        (b'{"a": "\\u003A\\\\u003a", "a": ":"}', "a"),
        (b'{"a": 1, "\\u0061": 2}', "a"),
        (b'{"": 1, "": 2}', ""),
        (b"{%s:1, %s:2}" % (b'"' + b"k" * 5_000 + b'"', b'"' + b"k" * 5_000 + b'"'), "k" * 100),
    ],
)
def test_a_key_that_comes_twice_in_an_object_is_named(
    services: Services, command: Command, content: bytes, key: str
) -> None:
    assert fields(services.give(command, content), 400) == [key]


def test_keys_of_several_objects_and_colons_anywhere_are_no_matter() -> None:
    value = {"a:": [{"a:": ":", "b": {"a:": ":\\"}}], "\\u003a": {}, '":"': '":"'}
    for content in (orjson.dumps(value), json.dumps(value, indent=2).replace(":", "\\u003a", 1).encode()):
        assert bodies.parse(content) == value


@given(st.lists(st.tuples(st.sampled_from(["a", "b", ":", "\\", '"', "\\u003a"]), st.sampled_from([":", "\\", {"a": 1}]))))
def test_a_key_that_comes_twice_is_always_found(pairs: list[tuple[str, Any]]) -> None:
    content = b"{%s}" % b",".join(b"%s:%s" % (orjson.dumps(name), orjson.dumps(value)) for name, value in pairs)
    if len({name for name, _ in pairs}) == len(pairs):
        assert bodies.parse(content) == dict(pairs)
    else:
        with pytest.raises(Malformed, match="twice"):
            bodies.parse(content)


COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "x-gzip": gzip.compress, "zstd": zstd.compress}
each_encoding = pytest.mark.parametrize("encoding", COMPRESS)


@each_command
@each_encoding
def test_a_compressed_body_is_read(services: Services, command: Command, encoding: str) -> None:
    wrong = orjson.dumps(command.body | {"surprise": 1})
    whole = COMPRESS[encoding](wrong)
    parts = COMPRESS[encoding](wrong[:9]) + COMPRESS[encoding](b"") + COMPRESS[encoding](wrong[9:])
    for content in (whole, parts):
        assert fields(services.give(command, content, Content_Encoding=encoding)) == ["surprise"]
    assert fields(services.give(command, wrong, Content_Encoding="Identity")) == ["surprise"]


@each_encoding
def test_a_compressed_body_that_is_damaged_is_a_bad_request(services: Services, encoding: str) -> None:
    whole = COMPRESS[encoding](orjson.dumps(ORDER))
    many = COMPRESS[encoding](b"") * 100 + whole
    for content in (b"", b"{}", whole[:-1], whole[:9], whole + b"{}", whole[:12] + b"\xff\xff" + whole[14:], many):
        answer = services.send("POST", "/v1/orders", content, Content_Encoding=encoding, **KEY)
        problem(answer, 400)


@each_encoding
def test_a_body_that_grows_too_large_is_refused_before_it_is_kept(services: Services, encoding: str) -> None:
    bomb = COMPRESS[encoding](b" " * (256 * 1024 * 1024))
    tracemalloc.start()
    try:
        started = time.process_time()
        problem(services.send("POST", "/v1/orders", bomb, Content_Encoding=encoding, **KEY), 413)
        taken_s = time.process_time() - started
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 5 * MAX_BODY_BYTES
    assert taken_s < 1


def test_a_body_that_needs_a_large_window_is_refused(services: Services) -> None:
    """Its reader would have to keep 128 MiB."""
    large: dict[int, int] = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    compressor = zstd.ZstdCompressor(options=large)
    content = compressor.compress(orjson.dumps(ORDER)) + compressor.flush()
    problem(services.send("POST", "/v1/orders", content, Content_Encoding="zstd", **KEY), 400)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "compress", "nonsense"])
def test_another_encoding_is_refused_with_those_that_are_read(services: Services, encoding: str) -> None:
    answer = services.send("POST", "/v1/orders", ORDER, Content_Encoding=encoding, **KEY)
    problem(answer, 415)
    assert answer.headers["Accept-Encoding"] == "gzip, zstd"


@each_command
def test_fields_that_are_unknown_or_missing_are_named(services: Services, command: Command) -> None:
    assert fields(services.give(command, command.body | {"surprise": 1})) == ["surprise"]
    if command.method != "PATCH":
        first = next(iter(command.body))
        without = {name: value for name, value in command.body.items() if name != first}
        assert fields(services.give(command, without)) == [first]


NOT_COUNTS = ["5", 5.0, 1e3, True, None, [], {}, -1, 2**53, 2**64, 10**300]


@pytest.mark.parametrize("value", NOT_COUNTS, ids=lambda value: repr(value)[:20])
def test_only_whole_numbers_that_fit_are_taken(services: Services, value: Any) -> None:
    number = json.dumps(value).encode()

    def sent(path: str, body: dict[str, Any]) -> list[str]:
        return fields(services.send("POST", path, orjson.dumps(body).replace(b'"?"', number), **KEY))

    assert sent("/v1/products", PRODUCT | {"sku": "milk", "price_minor": "?"}) == ["price_minor"]
    assert sent("/v1/stock/milk/receipts", {"quantity": "?"}) == ["quantity"]
    assert sent("/v1/orders", ORDER | {"lines": [LINE, {"sku": "b", "quantity": "?"}]}) == [
        "lines.1.quantity"
    ]
    if value != -1:
        assert sent("/v1/stock/milk/adjustments", {"quantity": "?", "reason": "x"}) == ["quantity"]


@pytest.mark.parametrize("value", ["", "a b", "a/b", "\0", "é", "-a", "a" * 65, 5, None, ["a"]], ids=repr)
def test_only_ids_that_are_safe_in_a_path_are_taken(services: Services, value: Any) -> None:
    assert fields(services.send("POST", "/v1/products", PRODUCT | {"sku": value})) == ["sku"]
    assert fields(services.send("POST", "/v1/orders", ORDER | {"customer_id": value}, **KEY)) == [
        "customer_id"
    ]
    lines = {"lines": [LINE, {"sku": value, "quantity": 1}]}
    assert fields(services.send("POST", "/v1/orders", ORDER | lines, **KEY)) == ["lines.1.sku"]


@pytest.mark.parametrize("value", ["\0", "a\0b", "a\nb", "\x7f", "a" * 201, 5, None, True], ids=repr)
def test_only_text_that_can_be_kept_is_taken(services: Services, value: Any) -> None:
    assert fields(services.send("PATCH", "/v1/products/milk", {"brand": value})) == ["brand"]
    reason = {"quantity": 1, "reason": value}
    assert fields(services.send("POST", "/v1/stock/milk/adjustments", reason, **KEY)) == ["reason"]


@pytest.mark.parametrize(
    ("method", "path", "body", "wrong"),
    [
        ("POST", "/v1/products", PRODUCT | {"sku": "milk", "currency": "usd"}, "currency"),
        ("POST", "/v1/products", PRODUCT | {"sku": "milk", "name": ""}, "name"),
        ("PATCH", "/v1/products/milk", {}, "body"),
        ("POST", "/v1/products:batch", {"products": []}, "products"),
        ("POST", "/v1/products:batch", {"products": [{}] * 1_001}, "products"),
        ("POST", "/v1/stock:receive", {"receipts": []}, "receipts"),
        ("POST", "/v1/stock/milk/adjustments", {"quantity": 0, "reason": "x"}, "quantity"),
        ("POST", "/v1/orders", ORDER | {"lines": []}, "lines"),
        ("POST", "/v1/orders", ORDER | {"lines": [LINE] * 501}, "lines"),
        ("POST", "/v1/orders", ORDER | {"lines": [LINE | {"quantity": 100_001}]}, "lines.0.quantity"),
        (
            "POST",
            "/v1/orders",
            ORDER | {"lines": [LINE | {"unit_price_minor": 1}]},
            "lines.0.unit_price_minor",
        ),
        ("GET", "/v1/stock", None, "below"),
        ("GET", "/v1/stock?below=x", None, "below"),
        ("GET", f"/v1/stock?below={2**53}", None, "below"),
        ("GET", "/v1/stock?below=1&limit=0", None, "limit"),
        ("GET", "/v1/stock?below=1&other=0", None, "other"),
        ("GET", "/v1/orders/unknown", None, "order_id"),
        ("POST", "/v1/orders/unknown/cancel", None, "order_id"),
        ("GET", "/v1/customers/7/orders?limit=1001", None, "limit"),
        ("GET", "/v1/customers/7/orders?status=lost", None, "status"),
        ("GET", "/v1/customers/7/orders?from=2026-01-01", None, "from"),
        ("GET", "/v1/customers/7/orders?from=2026-02-30T00:00:00Z", None, "from"),
        ("GET", "/v1/customers/7/orders?from=0001-01-01T00:00:00%2B01:00", None, "from"),
        ("GET", "/v1/customers/7/orders?to=1767225600", None, "to"),
        ("GET", "/v1/customers/7/orders?to=2026-01-01T12:00:00", None, "to"),
        ("GET", "/v1/products?archived=perhaps", None, "archived"),
        ("GET", "/v1/products?brand=%00", None, "brand"),
        ("GET", "/v1/products?other=0", None, "other"),
        ("GET", "/v1/customers/a%00/orders", None, "customer_id"),
        ("GET", "/v1/customers/%ff/orders", None, "customer_id"),
        ("GET", "/v1/products/%00", None, "sku"),
    ],
)
def test_the_field_that_is_wrong_is_named(
    services: Services, method: str, path: str, body: dict[str, Any] | None, wrong: str
) -> None:
    assert fields(services.send(method, path, body, **KEY)) == [wrong]


@pytest.mark.parametrize("path", ["/v1/products?limit=5", "/v1/stock?below=5", "/v1/customers/7/orders?limit=5"])
@pytest.mark.parametrize("cursor", ["", "?", "x", "AAAA", "_" * 32, "A" * 201, "MjAyNi0wMS0wMSB4", "%00", "é", "AAA="])
def test_a_cursor_that_is_not_ours_is_refused_before_anything_is_read(services: Services, path: str, cursor: str) -> None:
    assert fields(services.send("GET", f"{path}&cursor={cursor}")) == ["cursor"]


@pytest.mark.parametrize("key", [None, "", "a b", "é", "a" * 201, '""', '"a', 'a"b'])
@pytest.mark.parametrize("command", [each for each in COMMANDS if each.headers], ids=lambda each: each.path)
def test_what_would_count_twice_needs_an_idempotency_key(
    services: Services, command: Command, key: str | None
) -> None:
    headers = {} if key is None else {"Idempotency-Key": key}
    assert fields(services.send(command.method, command.path, command.body, **headers), 400) == ["Idempotency-Key"]


def test_any_number_of_seconds_may_be_asked_to_wait(services: Services) -> None:
    token = encode([Version("marea.product", "milk", 1)])
    answer = services.send("GET", "/v1/products/milk", **{"Marea-Token": token, "Prefer": "wait=" + "9" * 5_000})
    assert answer.status_code == 503, "its Redis is down"


def test_a_body_of_very_many_unknown_fields_is_one_error(services: Services) -> None:
    body = ORDER | {f"field-{number}": 1 for number in range(10_000)}
    assert fields(services.send("POST", "/v1/orders", body, **KEY)) == ["body"]


@pytest.mark.parametrize("token", ["x", "e30", "W1tdXQ", "W1siYSIsImIiLCIxIl1d", "é", "a" * 8_001])
def test_a_token_that_is_not_ours_is_a_bad_request(services: Services, token: str) -> None:
    assert fields(services.send("GET", "/v1/products/milk", **{"Marea-Token": token}), 400) == ["Marea-Token"]


@pytest.mark.parametrize("tag", ["1", "x", '"', '"a b"', '"1" "2"', '*, "1"', 'w/"1"', ",", "'1'"])
def test_what_is_no_list_of_tags_is_a_bad_request(services: Services, tag: str) -> None:
    assert fields(services.send("DELETE", "/v1/products/milk", If_Match=tag), 400) == ["If-Match"]


@pytest.mark.parametrize("path", ["/v1/products/a/b/c", "/v1/products//milk", "/v1/products/", "/v1/stock:nothing"])
def test_what_is_not_there_is_a_problem_and_no_redirect(services: Services, path: str) -> None:
    problem(services.send("GET", path, Host="evil.example"), 404)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "TRACE", "FOO"])
def test_a_method_that_is_not_there_is_refused_with_those_that_are(services: Services, method: str) -> None:
    answer = services.send(method, "/v1/orders")
    problem(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


texts = st.text(st.sampled_from('a5\0\n"\\é\u2028😀'), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@each_command
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(data=st.data())
def test_nothing_that_is_sent_is_our_fault(services: Services, command: Command, data: st.DataObject) -> None:
    spoiled = command.body | data.draw(st.dictionaries(st.sampled_from(sorted(command.body)), json_values))
    assert services.give(command, spoiled).status_code in (422, 503)
    raw = data.draw(st.binary(max_size=100))
    assert services.give(command, raw).status_code in (400, 422)
