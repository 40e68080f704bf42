"""Where the rows of a live view are, to look at all of them."""

from collections.abc import Iterable, Mapping
from typing import Any

from streams.engine.stores.redis import keys_of, live_key


def rows(redis: Any, view: str, partitions: int) -> Mapping[bytes, bytes]:
    """Every row, as JSON by key."""
    found: dict[bytes, bytes] = {}
    for key in _hashes(redis, view, partitions):
        found |= redis.hgetall(key)
    return found


def count(redis: Any, view: str, partitions: int) -> int:
    """How many rows there are."""
    return sum(redis.hlen(key) for key in _hashes(redis, view, partitions))


def _hashes(redis: Any, view: str, partitions: int) -> Iterable[str]:
    generation = int(redis.get(live_key(view)) or 0)  # a view that was never rebuilt is in its first
    return [keys_of(view, generation, partition).rows for partition in range(partitions)]
