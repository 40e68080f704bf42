"""ClickHouse's HTTP protocol before chDB, which is ClickHouse's engine in a library.

    MAREA_CLICKHOUSE_URL=http://user:password@127.0.0.1:8123/database python -m local.chdb_server FOLDER

Queries come in the URL, the body or both; data of an INSERT in the body, in any format. Parameters (`param_*`) and
settings come in the URL. Sessions and ClickHouse's own block compression (`compress=1`) are not supported.
https://clickhouse.com/docs/en/interfaces/http
"""

import asyncio
import hmac
import json
import os
import re
import sys
import uuid
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import chdb
import lz4.frame
from aiohttp import BasicAuth, web
from backports import zstd

#: The largest body that is taken, compressed or not: an INSERT is held in memory, so that it is one block.
MAX_BODY_BYTES = 512 * 1024 * 1024
#: Queries at work at once. Others wait.
MAX_QUERIES = 8

_DEFAULT_FORMAT = "TabSeparated"
# Parameters of the URL that are not settings.
_PROTOCOL = frozenset(
    "query database user password query_id quota_key default_format enable_http_compression"
    " session_id session_timeout session_check wait_end_of_query buffer_size stacktrace compress decompress".split()
)
# What an INSERT may have before its data: quoted text and comments are passed over, so that a word in them is no keyword.
_TOKEN = re.compile(
    rb"--[^\n]*|/\*.*?\*/|'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\"|\w+|\S", re.DOTALL
)
_AFTER_FORMAT = re.compile(rb"[ \t\f]*\r?\n?")
_OUTPUT_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_CODE = re.compile(r"Code: (\d+)\.")

_BAD_ARGUMENTS, _NOT_IMPLEMENTED, _TOO_LARGE, _AUTHENTICATION_FAILED, _UNKNOWN = 36, 48, 229, 516, 1002
# As ClickHouse answers; anything else is 500.
_STATUS = {
    _NOT_IMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    _TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    _AUTHENTICATION_FAILED: HTTPStatus.FORBIDDEN,
    **dict.fromkeys((26, 27, 36, 38, 41, 43, 44, 53, 62, 69, 72, 117, 130, 457), HTTPStatus.BAD_REQUEST),
    **dict.fromkeys((46, 47, 50, 56, 60, 78, 81, 115), HTTPStatus.NOT_FOUND),
}
_CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8",
}


class Refused(Exception):
    """A query that was not or could not be executed. `code` is ClickHouse's error code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Query(NamedTuple):
    """One request: SQL, or an INSERT whose `data` is in `data_format`."""

    sql: str
    data_format: str | None
    data: bytes
    database: str
    output_format: str
    parameters: Mapping[str, str]
    settings: Mapping[str, str]
    readonly: bool


class Answer(NamedTuple):
    """What a query gave."""

    body: bytes
    summary: dict[str, str]


class Engine:
    """The chDB engine on one data folder. Every query has a connection of its own, and so its own settings."""

    def __init__(self, folder: str, database: str) -> None:
        self._folder = folder
        self._keeper = chdb.connect(folder)  # the engine lives as long as one connection is open
        self._keeper.query(f"CREATE DATABASE IF NOT EXISTS {_identifier(database)}")
        self.version, self.timezone = str(self._keeper.query("SELECT version(), timezone()", "TSV")).split()

    def run(self, query: Query) -> Answer:
        """Executes one query. Raises Refused."""
        connection = chdb.connect(self._folder)
        try:
            for statement in _preamble(query):
                connection.query(statement)
            if query.data_format is None:
                return _answer(
                    connection.query(query.sql, query.output_format, params=dict(query.parameters))
                )
            inserter = connection.send_insert(query.sql, query.data_format)
            inserter.append(query.data)
            return _inserted(inserter.finish())
        except RuntimeError as error:
            raise _refused(str(error)) from error
        finally:
            connection.close()

    def close(self) -> None:
        """Ends the engine, with everything on disk."""
        self._keeper.close()


class Server:
    """Answers HTTP requests with an engine."""

    def __init__(self, engine: Engine, user: str, password: str, database: str) -> None:
        self._engine = engine
        self._credentials = f"{user}\n{password}".encode()
        self._database = database
        self._pool = ThreadPoolExecutor(MAX_QUERIES)

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.add_routes(
            [web.get("/ping", self._ping), web.get("/", self._handle), web.post("/", self._handle)]
        )
        app.on_cleanup.append(self._close)
        return app

    async def _ping(self, request: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def _handle(self, request: web.Request) -> web.Response:
        headers = {
            "X-ClickHouse-Query-Id": request.query.get("query_id") or str(uuid.uuid4()),
            "X-ClickHouse-Timezone": self._engine.timezone,
            "X-ClickHouse-Server-Display-Name": "chdb",
        }
        try:
            self._authenticate(request)
            query = await self._read(request)
            answer = await asyncio.get_running_loop().run_in_executor(self._pool, self._engine.run, query)
        except Refused as error:
            status = _STATUS.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
            headers["X-ClickHouse-Exception-Code"] = str(error.code)
            return web.Response(status=status, text=f"{error}\n", headers=headers)
        headers["X-ClickHouse-Format"] = query.output_format
        headers["X-ClickHouse-Summary"] = json.dumps(answer.summary)
        headers["Content-Type"] = _content_type(query.output_format)
        encoding = _response_encoding(request)
        if encoding is None:
            return web.Response(body=answer.body, headers=headers)
        return web.Response(
            body=_COMPRESS[encoding](answer.body), headers={**headers, "Content-Encoding": encoding}
        )

    def _authenticate(self, request: web.Request) -> None:
        basic = request.headers.get("Authorization")
        if basic is not None:
            try:
                given = BasicAuth.decode(basic, encoding="utf-8")
            except ValueError as error:
                raise Refused(
                    _AUTHENTICATION_FAILED, f"the Authorization header is malformed: {error}"
                ) from error
            user, password = given.login, given.password
        else:
            user = request.headers.get("X-ClickHouse-User") or request.query.get("user", "default")
            password = request.headers.get("X-ClickHouse-Key") or request.query.get("password", "")
        # One comparison of both, so that how long it takes tells nothing.
        if not hmac.compare_digest(f"{user}\n{password}".encode(), self._credentials):
            raise Refused(
                _AUTHENTICATION_FAILED,
                f"{user}: Authentication failed: password is incorrect, or there is no such user",
            )

    async def _read(self, request: web.Request) -> Query:
        if request.content_type.startswith("multipart/"):
            raise Refused(_NOT_IMPLEMENTED, "external data (multipart bodies) is not supported")
        for unsupported in ("compress", "decompress"):
            if request.query.get(unsupported, "0") not in ("0", "false"):
                raise Refused(
                    _NOT_IMPLEMENTED, f"{unsupported}=1 is not supported: use HTTP's Content-Encoding"
                )
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise _too_large() from error
        body = _decompressed(body, request.headers.get("Content-Encoding", "identity"))
        in_url = request.query.get("query", "").encode()
        sql, data_format, data = split_insert(in_url + b"\n" + body if in_url else body)
        if not sql.strip():
            raise Refused(62, "Empty query")
        named = _OUTPUT_FORMAT.search(sql) if data_format is None else None
        default = (
            request.query.get("default_format")
            or request.headers.get("X-ClickHouse-Format")
            or _DEFAULT_FORMAT
        )
        parameters = {name[6:]: value for name, value in request.query.items() if name.startswith("param_")}
        settings = {
            name: value
            for name, value in request.query.items()
            if name not in _PROTOCOL and not name.startswith("param_")
        }
        return Query(
            sql=sql,
            data_format=data_format,
            data=data,
            database=request.query.get("database")
            or request.headers.get("X-ClickHouse-Database")
            or self._database,
            output_format=named[1] if named else default,
            parameters=parameters,
            settings=settings,
            readonly=request.method == "GET",
        )

    async def _close(self, app: web.Application) -> None:
        self._pool.shutdown()
        self._engine.close()


def split_insert(text: bytes) -> tuple[str, str | None, bytes]:
    """The statement; and for an INSERT that is followed by data, the data's format and the data.

    `INSERT ... VALUES` and `INSERT ... SELECT` are statements as a whole. Raises Refused when it isn't UTF-8.
    """
    first = True
    for token in _TOKEN.finditer(text):
        if token[0].startswith((b"--", b"/*")):
            continue
        word = token[0].upper()
        if (first and word != b"INSERT") or word in (b"SELECT", b"VALUES", b"WITH"):
            break
        first = False
        if word == b"FORMAT":
            name = re.compile(rb"\s+(\w+)").match(text, token.end())
            if name is None:
                break
            if name[1].upper() == b"VALUES":
                break
            start = _AFTER_FORMAT.match(text, name.end())
            return (
                _text(text[: token.start()]),
                name[1].decode(),
                text[start.end() if start else name.end() :],
            )
    return _text(text), None, b""


def _text(sql: bytes) -> str:
    try:
        return sql.decode()
    except UnicodeDecodeError as error:
        raise Refused(_BAD_ARGUMENTS, f"the query is not UTF-8: {error}") from error


def _preamble(query: Query) -> list[str]:
    statements = [f"USE {_identifier(query.database)}"]
    if query.settings:
        pairs = (f"{_identifier(name)} = {_literal(value)}" for name, value in query.settings.items())
        statements.append("SET " + ", ".join(pairs))
    if query.data_format is not None:
        # Parameters of an INSERT with data: the streaming insert takes none itself.
        statements += [
            f"SET {_identifier('param_' + name)} = {_literal(v)}" for name, v in query.parameters.items()
        ]
    if query.readonly:
        statements.append("SET readonly = 1")
    return statements


def _identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _answer(result: Any) -> Answer:
    body = result.bytes()
    return Answer(
        body,
        _summary(
            result.storage_rows_read(), result.storage_bytes_read(), 0, 0, result.rows_read(), len(body)
        ),
    )


def _inserted(result: Any) -> Answer:
    return Answer(b"", _summary(0, 0, result.rows_written, result.bytes_written, result.rows_written, 0))


def _summary(*counts: int) -> dict[str, str]:
    names = ("read_rows", "read_bytes", "written_rows", "written_bytes", "result_rows", "result_bytes")
    return {name: str(count) for name, count in zip(names, counts, strict=True)}


def _refused(message: str) -> Refused:
    at = message.find("Code: ")
    found = _CODE.match(message, at) if at >= 0 else None
    return Refused(int(found[1]) if found else _UNKNOWN, message[max(at, 0) :].strip())


def _too_large() -> Refused:
    return Refused(_TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes: send it in several requests")


def _content_type(format_: str) -> str:
    if format_.startswith("JSON"):
        return "application/json; charset=UTF-8"
    return _CONTENT_TYPES.get(format_, "application/octet-stream")


_DECOMPRESSORS: Mapping[str, Callable[[], Any]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "deflate": zlib.decompressobj,
}
_COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
    "gzip": lambda body: zlib.compress(body, 1, wbits=31),
    "deflate": lambda body: zlib.compress(body, 1),
}


def _decompressed(body: bytes, encoding: str) -> bytes:
    """The body's content. There may be several frames in a row: clickhouse-connect sends one for each block."""
    if encoding == "identity":
        return body
    if encoding not in _DECOMPRESSORS:
        raise Refused(
            _NOT_IMPLEMENTED,
            f"Content-Encoding {encoding!r} is not supported: use {', '.join(_DECOMPRESSORS)}",
        )
    frames: list[bytes] = []
    room = MAX_BODY_BYTES
    while body:
        decompressor = _DECOMPRESSORS[encoding]()
        try:
            frames.append(decompressor.decompress(body, room + 1))
        except (RuntimeError, zlib.error, zstd.ZstdError) as error:
            raise Refused(_BAD_ARGUMENTS, f"the body is not {encoding}: {error}") from error
        room -= len(frames[-1])
        if room < 0:
            raise _too_large()
        if not decompressor.eof:
            raise Refused(_BAD_ARGUMENTS, f"the body ends inside a frame of {encoding}")
        body = decompressor.unused_data
    return b"".join(frames)


def _response_encoding(request: web.Request) -> str | None:
    if request.query.get("enable_http_compression", "0") not in ("1", "true"):
        return None
    accepted = {
        part.partition(";")[0].strip() for part in request.headers.get("Accept-Encoding", "").split(",")
    }
    return next((encoding for encoding in _COMPRESS if encoding in accepted), None)


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    url = urlsplit(os.environ["MAREA_CLICKHOUSE_URL"])
    database = url.path.strip("/")
    engine = Engine(sys.argv[1], database)
    server = Server(engine, url.username or "default", url.password or "", database)
    web.run_app(
        server.application(),
        host=url.hostname,
        port=url.port,
        access_log=None,
        print=None,
        auto_decompress=False,
        shutdown_timeout=5,
    )


if __name__ == "__main__":
    main()
