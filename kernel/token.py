"""What a write answers with, and a read may bring along to be sure to see it: base64url of JSON [[topic, key, version]]."""

import base64
import binascii
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from schemas.codec import TYPES
from schemas.event import Event

#: The most versions that one token names: of every topic that a write changed, one a partition.
MOST_VERSIONS = 500


class Version(NamedTuple):
    """An aggregate's version, which readers of its topic have to have seen."""

    topic: str
    key: str
    version: int


def version_of(event: Event) -> Version:
    """The version that an event made."""
    return Version(TYPES[event.type].topic, event.key, event.version)


class BadToken(ValueError):
    """A text that is no token."""


def encode(versions: Iterable[Version]) -> str:
    """The token that names them."""
    return base64.urlsafe_b64encode(orjson.dumps([list(each) for each in versions])).rstrip(b"=").decode()


def decode(token: str) -> list[Version]:
    """What a token names. Raises BadToken."""
    try:
        found = orjson.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise BadToken("it is not base64url of JSON") from error
    if not isinstance(found, list) or len(found) > MOST_VERSIONS or not all(map(_is_version, found)):
        raise BadToken(f"it is not a list of at most {MOST_VERSIONS} versions")
    return [Version(*each) for each in found]


def _is_version(value: Any) -> bool:
    return isinstance(value, list) and [type(part) for part in value] == [str, str, int]
