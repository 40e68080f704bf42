"""Every change of stock as server-sent events, straight from the topic.

An event's id says where the stream goes on after it: each partition's next offset, "12-5-88-3". Topics
are kept for ever, so a client that comes back with any id misses nothing and gets nothing twice. (After a
crash the relay may publish an event twice; both then have the same version.)
"""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import orjson
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from flask import Response, request

from kernel.refusals import FieldError, Malformed, Unavailable
from schemas.codec import Codec, Undecodable
from streams.engine.batch import Record, decode
from streams.engine.client import client_config, place_of
from streams.views.inventory import stock

log = logging.getLogger(__name__)

#: Streams that one process serves at once. Each keeps a thread: the service needs more threads than this.
MAX_STREAMS = 32

#: Seconds without a change after which a comment shows both sides that the other is there.
HEARTBEAT_S = 15.0

#: Changes that are sent in one piece at most.
_MAX_CHANGES = 500

_TIMEOUT_S = 5.0

class StockStream:
    """The changes of stock, for as many as listen; `kafka` are the bootstrap servers."""

    def __init__(self, kafka: str, partitions: int, codec: Callable[[], Codec]) -> None:
        self._kafka = kafka
        self._partitions = partitions
        self._codec = codec
        self._slots = threading.BoundedSemaphore(MAX_STREAMS)

    def reply(self, last_event_id: str | None) -> Response:
        """The stream from after that event, or from now on. Raises Malformed and Unavailable."""
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # nginx must not collect it
        if request.method == "HEAD":
            return Response(mimetype="text/event-stream", headers=headers)
        if not self._slots.acquire(blocking=False):
            raise Unavailable(f"This process serves {MAX_STREAMS} streams already: try again later.")
        try:
            changes = _Changes(
                self._kafka, self._partitions, self._codec(), last_event_id, self._slots.release
            )
        except BaseException:
            self._slots.release()
            raise
        return Response(changes, mimetype="text/event-stream", headers=headers)


class _Changes:
    """The pieces of one stream. Whoever iterates has to close it."""

    def __init__(
        self,
        kafka: str,
        partitions: int,
        codec: Codec,
        last_event_id: str | None,
        on_close: Callable[[], None],
    ) -> None:
        self._codec = codec
        self._on_close = on_close
        # The group is only a name that librdkafka asks for: nothing is subscribed or committed.
        config = {**client_config(kafka, "stock-stream"), "queued.max.messages.kbytes": 1_024}
        self._consumer = Consumer(config, logger=log)
        try:
            self._next = _start(self._consumer, partitions, last_event_id)
            self._consumer.assign([_at(number, offset) for number, offset in enumerate(self._next)])
        except KafkaException as error:
            self._consumer.close()
            raise Unavailable("Kafka can't be reached at the moment: try again.") from error
        except BaseException:
            self._consumer.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        yield f"id: {self._id()}\n\n".encode()
        while True:
            first = self._consumer.poll(HEARTBEAT_S)
            if first is None and not self._is_heard():
                return
            messages = [first, *self._consumer.consume(_MAX_CHANGES - 1, 0)] if first else []
            for message in messages:
                if message.error():
                    log.warning("a stock stream ends, its client will come back: %s", message.error())
                    return
            yield b"".join(map(self._piece, messages)) or b": still here\n\n"

    def close(self) -> None:
        """Called by the WSGI server however the request ended."""
        self._consumer.close()
        self._on_close()

    def _is_heard(self) -> bool:
        """Whether the broker answers. A Kafka client that has lost it may wait for ever; ours comes back."""
        try:
            self._consumer.list_topics(stock.TOPIC, timeout=_TIMEOUT_S)
        except KafkaException as error:
            log.warning("a stock stream ends, its client will come back: %s", error)
            return False
        return True

    def _piece(self, message: Message) -> bytes:
        offset = cast("int", message.offset())
        self._next[place_of(message).partition] = offset + 1
        change = self._change(Record(offset, message.key(), message.value(), message.headers() or ()))
        return b"id: %s\ndata: %s\n\n" % (self._id().encode(), orjson.dumps(change)) if change else b""

    def _change(self, record: Record) -> dict[str, Any] | None:
        """What happened, and the stock item's view row after it, which is public; None when the record does not say.

        The event has more, as whose order it is, which is nobody's business here.
        """
        try:
            event = decode(record, self._codec, stock.TOPIC)
        except Undecodable as error:
            log.warning("%s at offset %d is not streamed: %s", stock.TOPIC, record.offset, error)
            return None
        row = stock.fold(None, event)
        return {"type": event.type, **row} if row else None

    def _id(self) -> str:
        return "-".join(map(str, self._next))


def _start(consumer: Consumer, partitions: int, last_event_id: str | None) -> list[int]:
    """The next offset to read in each partition."""
    bounds = [
        consumer.get_watermark_offsets(_at(number), timeout=_TIMEOUT_S)
        for number in range(partitions)
    ]
    ends = [end for _, end in bounds]
    if last_event_id is None:
        return ends
    positions = [int(position) for position in last_event_id.split("-")]
    if len(positions) != len(ends) or any(
        position > end for position, end in zip(positions, ends, strict=True)
    ):
        message = "is not an id of this stream"
        raise Malformed(f"Header Last-Event-ID: {message}.", [FieldError("Last-Event-ID", message)])
    return positions


def _at(partition: int, offset: int = 0) -> TopicPartition:
    return TopicPartition(stock.TOPIC, partition, offset)
