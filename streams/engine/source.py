"""Kafka to batches, by a librdkafka consumer in a consumer group of its own.

The group decides who reads which partition; where to read from is the consumer's stored position. What is
committed to the group only shows how far behind the consumer is.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Protocol, cast

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from streams.engine.batch import Batch, Record

log = logging.getLogger(__name__)

#: Seconds between looking whether to stop, when nothing arrives.
IDLE_S = 0.2
#: Seconds between polls while an offer waits: without them the group would expel us.
PATIENCE_S = 1.0
#: Seconds between commits to the group, looks at whether the store is where it was left, and questions to the broker.
COMMIT_S = 5.0
#: Seconds that the broker may take to answer, and that it may leave us without any answer when we ask.
ANSWER_S, SILENCE_S = 1.0, 10.0
MAX_RECORDS = 4_000
#: Seconds that a source rests at most after a batch.
MAX_REST_S = 0.03

# Fetches as soon as there is something, and no further ahead.
_FOLLOW = {"queued.min.messages": 1, "fetch.queue.backoff.ms": 5}
_GATHER = {"fetch.min.bytes": 1_048_576, "fetch.wait.max.ms": 500}
_KEPT_FOR_EVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}


class UnfitTopic(Exception):
    """A topic is missing, deletes its history, or has another number of partitions: nothing could be rebuilt."""


class HistoryLost(Exception):
    """The position that a consumer needs next is not in the topic: going on would leave a gap."""


class BrokerSilent(Exception):
    """The broker has not answered for SILENCE_S: it is away, or the client has lost it for good."""


def check_topics(bootstrap: str, topics: Sequence[str], partitions: int) -> None:
    """Raises UnfitTopic, saying what to change, unless every topic keeps all it ever had."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    metadata = admin.list_topics(timeout=30).topics
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
    for topic in topics:
        found = len(metadata[topic].partitions) if topic in metadata else 0
        if found != partitions:
            raise UnfitTopic(f"{topic} has {found} partitions, not the {partitions} of MAREA_PARTITIONS")
    for resource, answer in admin.describe_configs(resources).items():
        config = answer.result(timeout=30)
        for name, needed in _KEPT_FOR_EVER.items():
            if config[name].value != needed:
                raise UnfitTopic(
                    f"{resource.name} has {name}={config[name].value}, so it deletes history and no view could be"
                    f" rebuilt from it: set {name}={needed}"
                )


def client_config(bootstrap: str, group: str) -> dict[str, str | int | bool]:
    """Settings of every consumer of ours. Nothing is ever skipped: a position out of range is an error."""
    return {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": "error",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "queued.max.messages.kbytes": 32_768,
        "fetch.queue.backoff.ms": 10,
    }


def by_partition(messages: Iterable[Message]) -> dict[int, list[Record]]:
    """The messages as records, in order, by partition."""
    records: dict[int, list[Record]] = {}
    for message in messages:
        records.setdefault(place(message), []).append(
            Record(cast("int", message.offset()), message.key(), message.value(), message.headers() or ())
        )
    return records


def place(message: Message) -> int:
    """The partition of a message that came from one."""
    return cast("int", message.partition())


class Offer:
    """Batches, at most one a partition, that wait for somebody to have them applied."""

    def __init__(self) -> None:
        self._requests: SimpleQueue[asyncio.Future[None]] = SimpleQueue()
        self._withdrawn = False

    def apply(self) -> "asyncio.Future[None]":
        """Has them applied, in the source's thread; to be called in an event loop.

        The future raises what went wrong; then they are still on offer. When the source is ending it does nothing:
        whoever reads the partitions next starts at the stored positions.
        """
        done = asyncio.get_running_loop().create_future()
        self._requests.put(done)
        if self._withdrawn:
            settle(done)
        return done

    def request(self, timeout_s: float) -> "asyncio.Future[None] | None":
        """What `apply` gave, or None when nobody called it in time; for the source."""
        try:
            return self._requests.get(timeout=timeout_s)
        except Empty:
            return None

    def withdraw(self) -> None:
        """The batches will not be applied from here; for the source."""
        self._withdrawn = True
        while request := self.request(0):
            settle_from_thread(request)


def settle(future: "asyncio.Future[None]", error: Exception | None = None) -> None:
    """Ends a future of the running event loop, unless it was cancelled, as when the worker stops."""
    if not future.done():
        future.set_exception(error) if error else future.set_result(None)


def settle_from_thread(future: "asyncio.Future[None]", error: Exception | None = None) -> None:
    """As `settle`, from a thread that has no event loop. When the loop is closed, nobody waits for it any more."""
    with suppress(RuntimeError):
        future.get_loop().call_soon_threadsafe(settle, future, error)


class Reader(Protocol):
    """Whom a source reads for. All calls come from the source's thread."""

    def assign(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Takes partitions on; gives the position of each, from which to read."""

    def revoke(self, partitions: Sequence[int]) -> None:
        """Lets partitions go."""

    def offer(self, offer: Offer) -> None:
        """Hears that there is something to apply, and calls `offer.apply` when it wants that done."""

    def apply(self, batches: Sequence[Batch]) -> Mapping[int, int]:
        """Applies them; gives the partitions to read again, and from which offset."""

    def recheck(self) -> Mapping[int, int]:
        """Compares with the store; gives the partitions to read again, and from which offset."""

    def positions(self) -> Mapping[int, int]:
        """How far each partition has been applied."""


class Source:
    """Reads one topic for one consumer, in a thread of its own from `start` to `stop`.

    Batches are applied in that thread too, once the reader asks for it: every thread that is woken on the way costs
    more than a small batch does. After a batch the source rests for as long as applying it took, while more records
    gather: the busier the machine, the larger the batches, and the less each event costs. With `linger_s` it gathers
    for that long instead, for sinks that want few large writes.
    """

    def __init__(
        self, bootstrap: str, group: str, topic: str, reader: Reader, linger_s: float = 0.0
    ) -> None:
        self._topic, self._group = topic, group
        self._reader = reader
        self._linger_s = linger_s
        self._rest_s = 0.0
        self._next: dict[int, int] = {}
        self._rewinds: dict[int, int] = {}
        self._stopping = Event()
        self._committed_at = monotonic()
        self._unheard_since: float | None = None
        self._assignments = 0
        # Records gather at the broker, not one by one in the client's queue.
        gather = _GATHER if linger_s else _FOLLOW
        self._consumer = KafkaConsumer(
            {**client_config(bootstrap, group), **gather, "group.protocol": "consumer"}, logger=log
        )

    def start(self, on_end: Callable[[Exception | None], None]) -> None:
        """Polls until stopped.

        `on_end` hears why it ended: HistoryLost, BrokerSilent, KafkaException, or what the reader raised.
        The thread is a daemon: when the worker dies around it, it must not live on and keep its partitions.
        """
        self._thread = Thread(target=self._run, args=(on_end,), name=f"source {self._group}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Asks the thread to end after what it is doing."""
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        """Waits for the thread to leave its group and end."""
        self._thread.join(timeout_s)

    def _run(self, on_end: Callable[[Exception | None], None]) -> None:
        failure: Exception | None = None
        try:
            self._read()
        except Exception as error:  # noqa: BLE001  # whoever started the thread decides
            failure = error
        on_end(failure)

    def _read(self) -> None:
        try:
            self._consumer.subscribe([self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke)
            while not self._stopping.is_set():
                self._rewind()
                batches = self._batches(self._poll())
                if batches:
                    self._hand_over(batches)
                self._keep_up()
        finally:
            self._consumer.close()

    def _poll(self) -> list[Message]:
        """Whatever there is: waiting for a full batch would cost every event that wait."""
        first = self._consumer.poll(IDLE_S)
        if first is None:
            return []
        assignments = self._assignments
        rest = self._consumer.consume(MAX_RECORDS - 1, self._linger_s or self._rest_s)
        if self._assignments != assignments:
            # Partitions came or went in between: what we hold need not follow on from `_next`.
            self._discard(first, *rest)
            return []
        return [message for message in (first, *rest) if self._is_record(message)]

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() in _LOST:
            raise HistoryLost(f"{self._topic}: {error.str()}: rebuild the consumer, or restore the topic")
        if error.fatal() or error.code() in _FINAL:
            raise KafkaException(error)
        log.warning("%s: %s", self._group, error)
        return False

    def _batches(self, messages: Sequence[Message]) -> list[Batch]:
        batches = []
        for partition, records in by_partition(messages).items():
            batch = Batch(partition, self._next[partition], records[-1].offset + 1, records)
            self._next[partition] = batch.end
            batches.append(batch)
        return batches

    def _hand_over(self, batches: list[Batch]) -> None:
        """Until they are applied. A consumer whose sink is down stays in its group, and keeps nothing that it reads."""
        offer = Offer()
        self._reader.offer(offer)
        try:
            while not self._stopping.is_set():
                request = offer.request(PATIENCE_S)
                if request and self._apply(batches, request):
                    return
                self._discard(self._consumer.poll(0))
        finally:
            offer.withdraw()

    def _apply(self, batches: Sequence[Batch], request: "asyncio.Future[None]") -> bool:
        began = monotonic()
        try:
            self._rewinds.update(self._reader.apply(batches))
        except Exception as error:  # noqa: BLE001  # whoever asked decides
            settle_from_thread(request, error)
            return False
        self._rest_s = min(MAX_REST_S, monotonic() - began)
        settle_from_thread(request)
        return True

    def _discard(self, *messages: Message | None) -> None:
        """What came when there was no room for it is read again later.

        Pausing partitions instead would need care: one that is revoked meanwhile is still paused when it comes back.
        """
        for message in messages:
            if message is not None and self._is_record(message) and place(message) in self._next:
                self._rewinds[place(message)] = self._next[place(message)]

    def _rewind(self) -> None:
        rewinds, self._rewinds = self._rewinds, {}
        for partition, offset in rewinds.items():
            if partition in self._next:
                self._consumer.seek(TopicPartition(self._topic, partition, offset))
                self._next[partition] = offset

    def _on_assign(self, consumer: KafkaConsumer, assigned: Sequence[TopicPartition]) -> None:
        self._assignments += 1
        positions = self._reader.assign([each.partition for each in assigned])
        self._next.update(positions)
        consumer.incremental_assign(
            [TopicPartition(self._topic, partition, offset) for partition, offset in positions.items()]
        )

    def _on_revoke(self, consumer: KafkaConsumer, revoked: list[TopicPartition]) -> None:
        self._assignments += 1
        partitions = [each.partition for each in revoked]
        self._reader.revoke(partitions)
        for partition in partitions:
            self._next.pop(partition, None)
            self._rewinds.pop(partition, None)
        consumer.incremental_unassign(revoked)

    def _keep_up(self) -> None:
        if monotonic() - self._committed_at < COMMIT_S:
            return
        self._committed_at = monotonic()
        self._rewinds.update(self._reader.recheck())
        offsets = [TopicPartition(self._topic, p, offset) for p, offset in self._reader.positions().items()]
        # A commit that nobody answers would hold up closing the client.
        if self._is_heard() and offsets:
            self._consumer.commit(offsets=offsets, asynchronous=True)

    def _is_heard(self) -> bool:
        """Whether the broker answers. Raises BrokerSilent, so that the client is opened anew.

        A broker that is just coming back may answer that there are no brokers. librdkafka (2.16) then lets go of
        those it knows and of its bootstrap servers, and waits for ever.
        """
        asked_at = monotonic()
        try:
            self._consumer.list_topics(self._topic, timeout=ANSWER_S)
        except KafkaException as error:
            self._unheard_since = self._unheard_since or asked_at
            if monotonic() - self._unheard_since > SILENCE_S:
                raise BrokerSilent(f"no answer from the broker for {SILENCE_S:.0f} s: {error}") from error
            return False
        self._unheard_since = None
        return True


_LOST = {
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001  # how librdkafka names its own error codes
    KafkaError.OFFSET_OUT_OF_RANGE,
}
_FINAL = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
}
