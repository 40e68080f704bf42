"""ClickHouse's HTTP protocol before chDB, as ClickHouse's own client and plain HTTP see it."""

import gzip
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import clickhouse_connect
import pytest
import requests
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from local.stack import Stack

ROWS = 200_000
AWKWARD = 'it\'s a \\ "quoted"\n\tline, ü and ☃'


@pytest.fixture
def url(stack: Stack) -> str:
    return stack.layout.environment["MAREA_CLICKHOUSE_URL"]


@pytest.fixture
def http(stack: Stack) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.auth = ("marea", stack.layout.secrets["clickhouse"])
        yield session


@pytest.fixture
def root(stack: Stack) -> str:
    return f"http://{stack.layout.address('clickhouse')}/"


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with clickhouse_connect.get_client(dsn=url) as client:
        yield client


@pytest.fixture
def numbers(client: Client) -> Iterator[str]:
    client.command("CREATE TABLE numbers_of_test (n UInt32, name String) ENGINE = MergeTree ORDER BY n")
    yield "numbers_of_test"
    client.command("DROP TABLE numbers_of_test")


@pytest.mark.parametrize("compress", ["lz4", "gzip", "zstd", False])
def test_what_a_client_inserts_comes_back_the_same_and_as_one_part(url: str, compress: Any) -> None:
    start = datetime(2026, 11, 21)  # noqa: DTZ001  clickhouse-connect gives UTC without a zone
    rows = [(n, f"{AWKWARD} {n}", start + timedelta(microseconds=n * 7919), str(n % 13)) for n in range(ROWS)]
    columns = "n UInt64, text String, at DateTime64(6, 'UTC'), kind LowCardinality(String)"
    with clickhouse_connect.get_client(dsn=url, compress=compress) as client:
        client.command(f"CREATE TABLE round_trip ({columns}) ENGINE = MergeTree ORDER BY n")
        try:
            client.insert("round_trip", rows, column_names=["n", "text", "at", "kind"])
            parts = client.query("SELECT rows FROM system.parts WHERE table = 'round_trip'").result_rows
            found = client.query("SELECT * FROM round_trip ORDER BY n").result_rows
        finally:
            client.command("DROP TABLE round_trip")
    assert found == rows
    assert parts == [(ROWS,)]


def test_parameters_pass_unharmed(client: Client) -> None:
    query = "SELECT {text:String}, {texts:Array(String)}, {n:Int64}"
    found = client.query(query, {"text": AWKWARD, "texts": [AWKWARD, ""], "n": -1})
    assert found.result_rows == [(AWKWARD, [AWKWARD, ""], -1)]


def test_an_error_names_its_code(client: Client) -> None:
    with pytest.raises(DatabaseError, match=r"Code: 60\..*UNKNOWN_TABLE"):
        client.query("SELECT * FROM not_there")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("SELECT * FROM not_there", 404, "60"),
        ("SELECT FROM WHERE", 400, "62"),
        ("SELECT throwIf(1)", 500, "395"),
        ("", 400, "62"),
    ],
)
def test_a_failed_query_has_clickhouses_status_and_code(
    http: requests.Session, root: str, query: str, status: int, code: str
) -> None:
    answer = http.post(root, data=query)
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (status, code)
    assert answer.text.strip()


def test_a_malformed_insert_adds_nothing(
    http: requests.Session, root: str, client: Client, numbers: str
) -> None:
    answer = http.post(root, params={"query": f"INSERT INTO {numbers} FORMAT CSV"}, data="1,one\ntwo,2\n")
    assert answer.status_code == 400
    assert client.command(f"SELECT count() FROM {numbers}") == 0


def test_only_the_right_password_is_let_in(root: str) -> None:
    for wrong in (
        {"auth": ("marea", "guess")},
        {"auth": ("default", "")},
        {"headers": {"X-ClickHouse-User": "marea"}},
        {},
    ):
        answer = requests.post(root, data="SELECT 1", timeout=10, **wrong)
        assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (403, "516")


def test_a_user_may_name_himself_in_headers_or_in_the_url(stack: Stack, root: str) -> None:
    password = stack.layout.secrets["clickhouse"]
    in_headers = {"X-ClickHouse-User": "marea", "X-ClickHouse-Key": password}
    assert requests.post(root, data="SELECT 1", headers=in_headers, timeout=10).text == "1\n"
    in_url = {"user": "marea", "password": password, "query": "SELECT 1"}
    assert requests.get(root, params=in_url, timeout=10).text == "1\n"


def test_anybody_may_ping(root: str) -> None:
    assert requests.get(f"{root}ping", timeout=10).text == "Ok.\n"


def test_reading_requests_change_nothing(
    http: requests.Session, root: str, client: Client, numbers: str
) -> None:
    answer = http.get(root, params={"query": f"INSERT INTO {numbers} VALUES (1, 'one')"})
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"
    assert client.command(f"SELECT count() FROM {numbers}") == 0


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("INSERT INTO {} FORMAT CSV", b"1,FORMAT\n2,two\n"),
        ("INSERT INTO {} (name, n) FORMAT JSONEachRow", b'{"n":1,"name":"FORMAT"}\n{"n":2,"name":"two"}'),
        ("INSERT INTO {} VALUES", b"(1, 'FORMAT'), (2, 'two')"),
        ("", b"INSERT INTO {} -- FORMAT of tests\nSETTINGS max_threads = 1 FORMAT TSV\n1\tFORMAT\n2\ttwo\n"),
        ("", b"INSERT INTO {} SELECT 1, 'FORMAT' UNION ALL SELECT 2, 'two'"),
    ],
)
@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_data_comes_in_the_body_in_any_format(
    http: requests.Session,
    root: str,
    client: Client,
    numbers: str,
    query: str,
    body: bytes,
    encoding: str | None,
) -> None:
    body = body.replace(b"{}", numbers.encode())
    headers = {"Content-Encoding": encoding} if encoding else {}
    data = gzip.compress(body) if encoding else body
    answer = http.post(root, params={"query": query.format(numbers)}, data=data, headers=headers)
    assert answer.ok, answer.text
    assert client.query(f"SELECT n, name FROM {numbers} ORDER BY n").result_rows == [
        (1, "FORMAT"),
        (2, "two"),
    ]


def test_several_compressed_frames_are_one_body(
    http: requests.Session, root: str, client: Client, numbers: str
) -> None:
    frames = b"".join(gzip.compress(f"{n},{n}\n".encode()) for n in range(100))
    params = {"query": f"INSERT INTO {numbers} FORMAT CSV"}
    assert http.post(root, params=params, data=frames, headers={"Content-Encoding": "gzip"}).ok
    assert client.command(f"SELECT count() FROM {numbers}") == 100


def test_a_body_that_ends_early_is_refused(
    http: requests.Session, root: str, client: Client, numbers: str
) -> None:
    body = gzip.compress(b"1,one\n")[:-4]
    params = {"query": f"INSERT INTO {numbers} FORMAT CSV"}
    assert http.post(root, params=params, data=body, headers={"Content-Encoding": "gzip"}).status_code == 400
    assert client.command(f"SELECT count() FROM {numbers}") == 0


def test_formats_settings_and_the_database_come_in_the_url(http: requests.Session, root: str) -> None:
    params = {"default_format": "JSONEachRow", "max_threads": "3", "database": "system"}
    answer = http.post(
        root, params=params, data="SELECT currentDatabase() AS d, getSetting('max_threads') AS t"
    )
    assert answer.json() == {"d": "system", "t": 3}
    assert answer.headers["X-ClickHouse-Format"] == "JSONEachRow"
    assert answer.headers["Content-Type"].startswith("application/json")


def test_settings_end_with_their_request(http: requests.Session, root: str) -> None:
    ask = "SELECT getSetting('max_block_size')"
    before = http.post(root, data=ask).text
    assert http.post(root, params={"max_block_size": "123"}, data=ask).text == "123\n"
    assert http.post(root, data=ask).text == before


def test_an_unknown_setting_is_an_error(http: requests.Session, root: str) -> None:
    answer = http.post(root, params={"max_thread": "3"}, data="SELECT 1")
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (404, "115")


def test_answers_are_compressed_when_asked(http: requests.Session, root: str) -> None:
    headers = {"Accept-Encoding": "gzip"}
    params = {"enable_http_compression": "1", "query": "SELECT number FROM numbers(100000)"}
    answer = http.get(root, params=params, headers=headers)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.text.splitlines()) == 100_000


def test_many_clients_at_once_each_see_whole_inserts(url: str, client: Client, numbers: str) -> None:
    def insert(worker: int) -> list[int]:
        with clickhouse_connect.get_client(dsn=url, autogenerate_session_id=False) as mine:
            counts = []
            for turn in range(10):
                first = (worker * 10 + turn) * 100
                mine.insert(numbers, [(first + n, "") for n in range(100)], column_names=["n", "name"])
                counts.append(int(str(mine.command(f"SELECT count() FROM {numbers}"))))
            return counts

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(insert, range(8)))
    assert all(count % 100 == 0 for counts in seen for count in counts)
    assert all(before < after for counts in seen for before, after in pairwise(counts))
    assert client.command(f"SELECT count(DISTINCT n) FROM {numbers}") == 8_000


def test_what_was_acknowledged_survives_a_kill(stack: Stack, client: Client, numbers: str) -> None:
    client.insert(numbers, [(n, AWKWARD) for n in range(1_000)], column_names=["n", "name"])
    stack.kill("clickhouse")
    stack.wait_ready("clickhouse")
    assert client.query(f"SELECT count(), uniqExact(name), any(name) FROM {numbers}").result_rows == [
        (1_000, 1, AWKWARD)
    ]
