"""What all peers do alike: decode events of orders, fold them, and write the rows to Redis, a batch at a time."""

import json
import os
from collections.abc import Iterable
from typing import Any

import orjson
from redis import Redis

from schemas.codec import Codec, Undecodable
from streams.engine.batch import Record, decode
from streams.engine.consumer import Row
from streams.views.orders.order import TOPIC as ORDERS
from streams.views.orders.order import fold

#: Events that a peer hands over at once, where its framework lets it choose.
BATCH = 4_000
#: Rows that are remembered, so that they need not be read again: as many as Marea's workers remember of four partitions.
REMEMBERED = 40_000

#: Some of the frameworks take no subclass of str.
TOPIC = str(ORDERS)
#: Where the topic is, and the consumer group that this run may use.
BROKER = os.environ.get("PEER_KAFKA", "")
GROUP = os.environ.get("PEER_GROUP", "")

__all__ = ["BATCH", "BROKER", "GROUP", "TOPIC", "Orders"]


class Orders:
    """The rows of orders in one Redis hash, PEER_HASH. Prints how many events are done, the first time and the last."""

    def __init__(self) -> None:
        self._redis: Redis = Redis.from_url(os.environ["PEER_REDIS_URL"])
        self._hash, self._events = os.environ["PEER_HASH"], int(os.environ["PEER_EVENTS"])
        self._codec = Codec(json.loads(os.environ["PEER_SCHEMAS"]), _unknown)
        self._rows: dict[str, Row] = {}
        self._done = 0

    def write(self, records: Iterable[tuple[bytes | None, bytes | None, Any]]) -> None:
        """Folds records, given as key, value and headers, and returns when Redis has acknowledged their rows."""
        events = [decode(Record(0, *record), self._codec, ORDERS) for record in records]
        self._remember([event.key for event in events if event.key not in self._rows])
        changed: dict[str, Row] = {}
        for event in events:
            row = self._rows.get(event.key)
            if row is None or row["version"] < event.version:
                folded = fold(row, event)
                assert folded is not None, "no order is ever deleted"
                self._rows[event.key] = changed[event.key] = folded
        if changed:
            self._redis.hset(self._hash, mapping={key: orjson.dumps(row) for key, row in changed.items()})
        self._say(len(events))

    def _remember(self, keys: list[str]) -> None:
        if len(self._rows) > REMEMBERED:
            self._rows.clear()
        if keys:
            found: list[bytes | None] = self._redis.hmget(self._hash, keys)  # type: ignore[assignment]
            self._rows.update({key: orjson.loads(row) for key, row in zip(keys, found, strict=True) if row})

    def _say(self, events: int) -> None:
        first = not self._done
        self._done += events
        if events and (first or self._done >= self._events):
            os.write(1, b"%d\n" % self._done)  # past whatever the framework has made of sys.stdout


def _unknown(schema_id: int) -> str:
    raise Undecodable(f"schema {schema_id} is not one of this checkout's")
