"""Kafka to a feed: one librdkafka client for all topics of a sink, in a consumer group of its own.

The group decides who reads which partition; where to read from is what the lanes' stored positions say. What is
committed to the group only shows how far behind the feed is. A second client, the replayer, reads again for lanes
that are behind the others, without the group; it is there only while some are.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import NamedTuple, cast

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from kernel.limits import MAX_RECORD_BYTES
from streams.engine.batch import Batch, Place, Record
from streams.engine.feed import Feed

log = logging.getLogger(__name__)

#: Seconds between looking whether to stop, when nothing arrives.
IDLE_S = 0.2
#: Seconds between polls while nothing may be applied: without them the group would expel us.
PATIENCE_S = 1.0
#: Seconds for which a turn goes on, unless nothing comes.
TURN_S = 0.25
#: Seconds between commits to the group, looks at whether the store is where it was left, and questions to the broker.
COMMIT_S = 5.0
#: Seconds between looks at what operators want.
REQUESTS_S = 1.0
#: Seconds that the broker may take to answer, and that it may leave us without any answer when we ask.
ANSWER_S, SILENCE_S = 1.0, 10.0
#: Records in a batch at first, and in one call of the client.
FIRST_RECORDS, AT_ONCE = 500, 500
#: Records that the replayer hands over at once, and seconds that it may gather them.
REPLAY_RECORDS, REPLAY_S = 1_000, 0.02

# Fetches as soon as there is something, and no further ahead.
_FOLLOW = {"queued.min.messages": 1, "fetch.queue.backoff.ms": 5}
_GATHER = {"fetch.min.bytes": 1_048_576, "fetch.wait.max.ms": 500}
_KEPT_FOR_EVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}


class Pace(NamedTuple):
    """How much of what arrives is handled at once.

    `linger_s` is how long records are gathered for, for sinks that want few large writes; others gather for as long
    as applying takes, at most `rest_s`: the busier the machine, the larger the batches, and the less each event
    costs. A batch has at most `records`, and about as many `bytes` of values.

    `apply_s` is how long applying a batch should take at most: locks are held for no longer, and others get their turn.
    """

    records: int
    bytes: int
    rest_s: float = 0.0
    linger_s: float = 0.0
    apply_s: float = 0.25


class UnfitTopic(Exception):
    """A topic is missing, deletes its history, or has another number of partitions: nothing could be rebuilt."""


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
    """Settings of every consumer of ours. Nothing is ever skipped: a position out of range is an error.

    What a client fetches ahead is bounded in bytes, and any record that the relay may write fits.
    """
    return {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": "error",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "queued.max.messages.kbytes": 16_384,
        "message.max.bytes": 2 * MAX_RECORD_BYTES,
        "fetch.message.max.bytes": MAX_RECORD_BYTES,
        "fetch.queue.backoff.ms": 10,
    }


def by_place(messages: Iterable[Message]) -> dict[Place, list[Message]]:
    """The messages, in order, by partition."""
    found: dict[Place, list[Message]] = {}
    for message in messages:
        found.setdefault(place_of(message), []).append(message)
    return found


def place_of(message: Message) -> Place:
    """The partition of a message that came from one."""
    return Place(cast("str", message.topic()), cast("int", message.partition()))


def record_of(message: Message) -> Record:
    """The message as a record."""
    epoch = message.leader_epoch()
    headers = message.headers() or ()
    return Record(cast("int", message.offset()), message.key(), message.value(), headers, -1 if epoch is None else epoch)


def from_position(place: Place, offset: int) -> TopicPartition:
    """Where to read from."""
    return TopicPartition(*place, offset)


class Turn:
    """A feed has work: it is done in the source's thread, once an agent has said so, for as long as there is some."""

    def __init__(self) -> None:
        self._requests: SimpleQueue[asyncio.Future[None]] = SimpleQueue()
        self._withdrawn = False

    def take(self) -> "asyncio.Future[None]":
        """Has the work done; to be called in an event loop.

        The future raises what went wrong; then the work is still to be done. When the source is ending it does
        nothing: whoever reads the partitions next starts at the stored positions.
        """
        done = asyncio.get_running_loop().create_future()
        self._requests.put(done)
        if self._withdrawn:
            settle(done)
        return done

    def request(self, timeout_s: float) -> "asyncio.Future[None] | None":
        """What `take` gave, or None when nobody called it in time; for the source."""
        try:
            return self._requests.get(timeout=timeout_s)
        except Empty:
            return None

    def withdraw(self) -> None:
        """The work will not be done from here; for the source."""
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


class Source:
    """Reads for one feed, in a thread of its own from `start` to `stop`.

    The work is done in that thread too, in turns that an agent grants: threads that are woken for each batch would
    cost more than small batches do, so a turn goes on while there is work, for TURN_S at most.
    """

    def __init__(self, bootstrap: str, feed: Feed, pace: Pace, offer: Callable[[Turn], None]) -> None:
        self._bootstrap = bootstrap
        self._feed = feed
        self._pace = pace
        self._offer = offer
        self._most = min(FIRST_RECORDS, pace.records)
        self._rest_s = 0.0
        self._pending: list[Batch] = []
        self._next: dict[Place, int] = {}
        self._rewinds: dict[Place, int] = {}
        self._stopping = Event()
        self._committed_at = self._asked_at = monotonic()
        self._assignments = 0
        self._replayer: Replayer | None = None
        # Records gather at the broker, not one by one in the client's queue.
        gather = _GATHER if pace.linger_s else _FOLLOW
        config = {**client_config(bootstrap, f"marea.{feed.name}"), **gather}
        # Partitions of the same number go to the same worker, whatever their topics.
        config |= {"group.protocol": "consumer", "group.remote.assignor": "range"}
        self._client = KafkaConsumer(config, logger=log)
        self._hearing = Hearing(self._client, feed.topics[0])

    def start(self, on_end: Callable[[Exception | None], None]) -> None:
        """Polls until stopped.

        `on_end` hears why it ended: BrokerSilent, KafkaException, or what the feed's store raised.
        The thread is a daemon: when the worker dies around it, it must not live on and keep its partitions.
        """
        name = f"source {self._feed.name}"
        self._thread = Thread(target=self._run, args=(on_end,), name=name, daemon=True)
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
            self._client.subscribe(self._feed.topics, on_assign=self._on_assign, on_revoke=self._on_revoke)
            while not self._stopping.is_set():
                self._rewind()
                self._pending = self._poll(0.0 if self._feed.due() else IDLE_S)
                if self._pending or self._feed.due():
                    self._take_turn()
                self._keep_up()
        finally:
            self._close_replayer()
            self._client.close()

    def _poll(self, wait_s: float) -> list[Batch]:
        """Whatever there is: waiting for a full batch would cost every event that wait."""
        first = self._client.poll(wait_s)
        if first is None:
            return []
        assignments = self._assignments
        messages = [first]
        size = len(first)
        until = monotonic() + (self._pace.linger_s or self._rest_s)
        while len(messages) < self._most and size < self._pace.bytes:
            left_s = max(0.0, until - monotonic())
            more = self._client.consume(self._room(len(messages), size), left_s)
            messages += more
            size += sum(map(len, more))
            if not more and left_s == 0.0:
                break
        if self._assignments != assignments:
            # Partitions came or went in between: what we hold need not follow on from `_next`.
            self._discard(*messages)
            return []
        return batches_of(self._feed, [message for message in messages if self._is_record(message)], self._next)

    def _room(self, records: int, size: int) -> int:
        """How many records more the batch may have, when they are as large as those that it has."""
        fitting = (self._pace.bytes - size) * records // max(1, size)
        return max(1, min(AT_ONCE, self._most - records, fitting))

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.fatal() or error.code() in _FINAL:
            raise KafkaException(error)
        say(self._feed, message)
        return False

    def _take_turn(self) -> None:
        """Until the work is done. A feed whose sink is down stays in its group, and keeps nothing that it reads."""
        turn = Turn()
        self._offer(turn)
        try:
            while not self._stopping.is_set():
                request = turn.request(PATIENCE_S)
                if request and self._work(request):
                    return
                self._discard(self._client.poll(0))
        finally:
            turn.withdraw()

    def _work(self, request: "asyncio.Future[None]") -> bool:
        failure: Exception | None = None
        try:
            failure = self._work_on()
        finally:
            settle_from_thread(request, failure)
        return failure is None

    def _work_on(self) -> Exception | None:
        """Until the work is done, or applying fails: gives why, and whoever asked decides.

        What fails in reading is raised, and ends the source: records that were read and not handed over are gone, and
        whoever reads next must begin at the stored positions.
        """
        until = monotonic() + TURN_S
        while True:
            try:
                self._apply()
                self._replay()
            except Exception as error:  # noqa: BLE001  # whoever asked decides
                return error
            self._rewind()
            left_s = until - monotonic()
            if left_s < 0 or self._stopping.is_set():
                return None
            # Waiting costs the same within a turn as between two, and ending one costs more than a small batch.
            self._pending = self._poll(0.0 if self._feed.due() else left_s)
            if not self._pending and not self._feed.due():
                return None

    def _apply(self) -> None:
        """What is pending; and the next batch is as large as this one's time allows."""
        if not self._pending:
            return
        began = monotonic()
        self._feed.handle(self._pending)
        took_s = monotonic() - began
        handled = sum(len(batch.items) for batch in self._pending)
        self._pending = []
        self._rest_s = min(self._pace.rest_s, took_s)
        if took_s > self._pace.apply_s:
            self._most = max(1, int(handled * self._pace.apply_s / took_s))
        elif handled >= self._most:
            self._most = min(self._pace.records, 2 * self._most)

    def _replay(self) -> None:
        """A piece of what detached lanes lack; those that have caught up are taken back."""
        self._rewinds.update(self._feed.attach(self._next))
        due = self._feed.due()
        if due:
            self._replayer = self._replayer or Replayer(self._bootstrap, self._feed)
            self._replayer.replay(due)
        elif not self._feed.has_detached:
            self._close_replayer()

    def _close_replayer(self) -> None:
        replayer, self._replayer = self._replayer, None
        if replayer:
            replayer.close()

    def _discard(self, *messages: Message | None) -> None:
        """What came when there was no room for it is read again later.

        Pausing partitions instead would need care: one that is revoked meanwhile is still paused when it comes back.
        """
        for message in messages:
            if message is not None and self._is_record(message) and (place := place_of(message)) in self._next:
                self._rewinds.setdefault(place, self._next[place])  # a lane may need to go back further

    def _rewind(self) -> None:
        rewinds, self._rewinds = self._rewinds, {}
        for place, offset in rewinds.items():
            if place in self._next:
                self._client.seek(from_position(place, offset))
                self._next[place] = offset

    def _on_assign(self, client: KafkaConsumer, assigned: Sequence[TopicPartition]) -> None:
        self._assignments += 1
        starts = self._feed.assign([Place(each.topic, each.partition) for each in assigned])
        self._next.update(starts)
        client.incremental_assign([from_position(*start) for start in starts.items()])

    def _on_revoke(self, client: KafkaConsumer, revoked: list[TopicPartition]) -> None:
        self._assignments += 1
        places = [Place(each.topic, each.partition) for each in revoked]
        self._feed.revoke(places)
        for place in places:
            self._next.pop(place, None)
            self._rewinds.pop(place, None)
        client.incremental_unassign(revoked)

    def _keep_up(self) -> None:
        now = monotonic()
        if now - self._asked_at > REQUESTS_S:
            self._asked_at = now
            self._look_after(lambda: self._feed.carry_out(self._fetch))
        if now - self._committed_at > COMMIT_S:
            self._committed_at = now
            self._look_after(self._feed.recheck)
            # A commit that nobody answers would hold up closing the client.
            offsets = [from_position(place, offset) for place, offset in self._feed.positions().items()]
            if self._hearing.ask() and offsets:
                self._client.commit(offsets=offsets, asynchronous=True)
            if self._replayer:
                self._replayer.hearing.ask()

    def _look_after(self, work: Callable[[], None]) -> None:
        """While the sink does not answer, this says so; the next look is soon."""
        try:
            work()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is said
            log.warning("%s: can't look after what is stored: %s: %s", self._feed.name, type(error).__name__, error)

    def _fetch(self, place: Place, offsets: Sequence[int]) -> list[Record]:
        return fetch(self._bootstrap, place, offsets)


class Hearing:
    """Whether the broker answers a client. One that it has not answered for long is of no use any more.

    A broker that is just coming back may answer that there are no brokers. librdkafka (2.16) then lets go of
    those it knows and of its bootstrap servers, and waits for ever.
    """

    def __init__(self, client: KafkaConsumer, topic: str) -> None:
        self._client, self._topic = client, topic
        self._unheard_since: float | None = None

    def ask(self) -> bool:
        """Whether it answers now. Raises BrokerSilent, so that the client is opened anew."""
        asked_at = monotonic()
        try:
            self._client.list_topics(self._topic, timeout=ANSWER_S)
        except KafkaException as error:
            self._unheard_since = self._unheard_since or asked_at
            if monotonic() - self._unheard_since > SILENCE_S:
                raise BrokerSilent(f"no answer from the broker for {SILENCE_S:.0f} s: {error}") from error
            return False
        self._unheard_since = None
        return True


class Replayer:
    """Reads again for detached lanes, without the group."""

    def __init__(self, bootstrap: str, feed: Feed) -> None:
        self._feed = feed
        self._next: dict[Place, int] = {}
        config = {**client_config(bootstrap, f"marea.{feed.name}.replay"), "fetch.error.backoff.ms": 100}
        self._client = KafkaConsumer(config, logger=log)
        self.hearing = Hearing(self._client, feed.topics[0])

    def replay(self, due: Mapping[Place, int]) -> None:
        """Hands over what has arrived of these positions and what follows them."""
        is_lacking = any(place not in self._next or offset < self._next[place] for place, offset in due.items())
        if is_lacking or self._next.keys() - due.keys():
            self._next = dict(due)
            self._client.assign([from_position(*at) for at in due.items()])
        try:
            messages = self._client.consume(REPLAY_RECORDS, REPLAY_S)
            records = [message for message in messages if self._is_record(message)]
            self._feed.replay(batches_of(self._feed, records, self._next))
        except Exception:
            self._next.clear()  # what was read and not handed over is read again
            raise

    def close(self) -> None:
        """Ends the client."""
        self._client.close()

    def _is_record(self, message: Message) -> bool:
        if message.error() is None:
            return True
        say(self._feed, message)
        return False


def batches_of(feed: Feed, messages: Iterable[Message], ahead: dict[Place, int]) -> list[Batch]:
    """The messages as batches, each from where the one before it ended; `ahead`, the next offsets, moves on."""
    batches = []
    for place, found in by_place(messages).items():
        batch = feed.batch(place, ahead[place], list(map(record_of, found)))
        ahead[place] = batch.end
        batches.append(batch)
    return batches


def fetch(bootstrap: str, place: Place, offsets: Sequence[int]) -> list[Record]:
    """The records at these offsets. Raises LookupError when one is not there, TimeoutError when the broker is silent."""
    found: list[Record] = []
    client = KafkaConsumer(client_config(bootstrap, "marea.fetch"))
    try:
        for offset in offsets:
            client.assign([TopicPartition(*place, offset)])
            message = client.poll(SILENCE_S)
            if message is None:
                raise TimeoutError(f"no answer from the broker for {SILENCE_S:.0f} s")
            if message.error() or message.offset() != offset:
                raise LookupError(f"{place.topic}/{place.partition} has no record at {offset}")
            found.append(record_of(message))
    finally:
        client.close()
    return found


def say(feed: Feed, message: Message) -> None:
    """What a client says in place of a record. Lanes whose position is not in their topic stand still."""
    error = message.error()
    assert error
    if error.code() not in _LOST or not message.topic():
        log.warning("%s: %s", feed.name, error)
        return
    place = place_of(message)
    feed.stand_still(
        place,
        f"{place.topic}/{place.partition} does not have this position ({error.str()}): restore the topic, or rebuild the"
        " consumer",
    )


_LOST = {
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001  # how librdkafka names its own error codes
    KafkaError.OFFSET_OUT_OF_RANGE,
}
_FINAL = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
}
