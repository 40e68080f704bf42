"""The body of a request: compressed or not, one JSON value, bounded in memory and time whatever was sent."""

import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from backports import zstd
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from kernel.refusals import FieldError, Malformed

#: The most that one member of a zstd body may make its reader keep: what RFC 9659 has every reader take, 8 MiB.
_ZSTD_WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}

_DECOMPRESSORS: Mapping[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "x-gzip": lambda: zlib.decompressobj(wbits=31),  # the same: RFC 9110, section 8.4.1.3
    "zstd": lambda: zstd.ZstdDecompressor(options=_ZSTD_WINDOW),
}

#: The most members of one body. Each costs time even when it is empty.
_MAX_MEMBERS = 100

#: The most characters of a key that a problem repeats.
_MAX_NAME = 100


class UnsupportedEncoding(UnsupportedMediaType):
    """The body is compressed in another way than those that are read, which the answer names."""

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """The usual ones, and what would be taken: RFC 9110, section 12.5.3."""
        return [*super().get_headers(*args, **kwargs), ("Accept-Encoding", "gzip, zstd")]


def decompressed(content: bytes, encoding: str, most: int) -> bytes:
    """The content as it was before `encoding`, a Content-Encoding; it may be of several members, one after the other.

    Raises Malformed when it is cut off or no such content, UnsupportedEncoding, and RequestEntityTooLarge when it has
    more than `most` bytes: no more than these are kept.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return content
    if encoding not in _DECOMPRESSORS:
        raise UnsupportedEncoding("The body's Content-Encoding must be gzip or zstd, or left out.")
    whole = bytearray()
    for _ in range(_MAX_MEMBERS):
        decompressor = _DECOMPRESSORS[encoding]()
        try:
            whole += decompressor.decompress(content, most + 1 - len(whole))
        except (zlib.error, zstd.ZstdError) as error:
            raise Malformed(f"The body can't be read as {encoding}: {error}.") from error
        if len(whole) > most:
            raise RequestEntityTooLarge(f"The body is larger than {most} bytes when it is decompressed.")
        if not decompressor.eof:
            raise Malformed(f"The body can't be read as {encoding}: it is cut off.")
        content = decompressor.unused_data
        if not content:
            return bytes(whole)
    raise Malformed(f"The body can't be read as {encoding}: it has more than {_MAX_MEMBERS} members.")


def parse(content: bytes) -> Any:
    """The JSON value that it is. Raises Malformed when it is none, and when an object has a key twice."""
    try:
        value = orjson.loads(content)
        written = orjson.dumps(value)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"The body can't be read as JSON: {error}.") from error
    except orjson.JSONEncodeError as error:  # it writes less deep than it reads
        raise Malformed("The body can't be read as JSON: it is nested too deeply.") from error
    # A key that came twice is kept once, so a colon is missing when the value is written again; an escaped colon is one
    # more. Only when there may be such is the body read a second time, slowly.
    if content.count(b":") != written.count(b":") or b"\\u003" in content:
        json.loads(content, object_pairs_hook=_each_once, parse_int=str, parse_float=str)
    return value


def _each_once(pairs: Iterable[tuple[str, Any]]) -> None:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            shown = name[:_MAX_NAME]
            message = "comes twice in one object"
            raise Malformed(
                f"The body can't be read as JSON: the key {json.dumps(shown)} {message}.", [FieldError(shown, message)]
            )
        seen.add(name)
