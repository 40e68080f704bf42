"""HTTP to the front door over connections that are kept: as little work a request as Python allows.

The load shares two cores with the stack that it measures. This costs 26 µs a request, aiohttp's client 99 µs.
"""

import asyncio
from collections.abc import Mapping
from time import perf_counter
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import orjson

#: Seconds until an answer that has not come counts as a broken connection.
TIMEOUT_S = 30


class Answer(NamedTuple):
    """What came back: the HTTP status, the body, which may be empty, after how many seconds, and a write's token."""

    status: int
    body: bytes
    seconds: float
    token: str | None = None

    def json(self) -> Any:
        """The body's value. Raises ValueError when it is not JSON."""
        return orjson.loads(self.body)


class Client:
    """One connection, one request at a time. Opens anew after it broke; close it with `async with`."""

    def __init__(self, address: str) -> None:
        """`address` is that of the front door, such as http://127.0.0.1:17000."""
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Sends JSON. Raises OSError when no answer came."""
        about_body = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return await self._ask(f"POST {path}", about_body, headers, body)

    async def get(self, path: str, headers: Mapping[str, str]) -> Answer:
        """Reads. Raises OSError when no answer came."""
        return await self._ask(f"GET {path}", "", headers, b"")

    async def _ask(self, what: str, about_body: str, headers: Mapping[str, str], body: bytes) -> Answer:
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"{what} HTTP/1.1\r\nHost: {self._host}\r\n{about_body}{more}\r\n"
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reader, writer = self._streams = self._streams or await asyncio.open_connection(
                    self._host, self._port
                )
                sent = perf_counter()
                writer.write(request.encode() + body)
                status, content, token = await self._answer(reader)
                return Answer(status, content, perf_counter() - sent, token)
        except asyncio.IncompleteReadError as error:
            self._drop()
            raise ConnectionError("the connection was closed before the answer was complete") from error
        except BaseException:
            # Half an answer may still be on its way: nothing else may be sent on this connection.
            self._drop()
            raise

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, bytes, str | None]:
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        # The services know the length of all that they answer; their streams are not for this client.
        body = await reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            self._drop()
        return int(status.split()[1]), body, headers.get("marea-token")

    def _drop(self) -> None:
        if self._streams:
            self._streams[1].close()
            self._streams = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop()
