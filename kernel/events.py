"""This process's way from events to bytes and back."""

from functools import cache
from threading import Lock

from kernel import settings
from schemas.codec import TOPICS, Codec
from schemas.registry import connect

#: Events whose data the codec keeps for the next who reads the same bytes: below 16 MiB in all.
SHARED = 4_096


def codec(topics: tuple[str, ...] = TOPICS) -> Codec:
    """The codec for the registry at MAREA_REGISTRY_URL, which encodes events of these topics; all threads share it.

    Raises what `connect` raises. Who publishes to few topics asks for these alone: the registry answers for one schema at a time.
    """
    with _LOCK:
        return _codec(settings.registry_url(), SHARED, topics)


_LOCK = Lock()
_codec = cache(connect)
