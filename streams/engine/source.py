"""Kafka to a feed: one librdkafka client for all topics of a sink, in a consumer group of its own.

The group decides who reads which partition; where to read from is what the lanes' stored positions say. What is
committed to the group only shows how far behind the feed is. A second client, the replayer, reads again for lanes
that are behind the others, without the group; it is there only while some are.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from threading import Event, Thread
from time import monotonic

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from streams.engine.batch import Batch, Place, Record
from streams.engine.client import (
    Hearing,
    batches_of,
    client_config,
    fetch,
    from_position,
    place_of,
    say,
)
from streams.engine.feed import Feed
from streams.engine.pace import Pace, Portion
from streams.engine.replayer import Replayer
from streams.engine.turn import Turn, settle_from_thread

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

# Fetches as soon as there is something, and no further ahead.
_FOLLOW = {"queued.min.messages": 1, "fetch.queue.backoff.ms": 5}
_GATHER = {"fetch.min.bytes": 1_048_576, "fetch.wait.max.ms": 500}


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
        self._portion = Portion(pace)
        self._rested_at = 0.0
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
            if self._assignments:  # before, there may be much to read
                self._feed.signals.idle()
            return []
        assignments = self._assignments
        until = monotonic() + self._pace.linger_s if self._pace.linger_s else self._rested_at
        messages = self._portion.gather(self._client, first, until)
        if self._assignments != assignments:
            # Partitions came or went in between: what we hold need not follow on from `_next`.
            self._discard(*messages)
            return []
        return batches_of(self._feed, [message for message in messages if self._is_record(message)], self._next)

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
        ended = monotonic()
        took_s = ended - began
        self._portion.learn(sum(len(batch.items) for batch in self._pending), took_s)
        self._feed.signals.handled(self._pending, took_s)
        self._pending = []
        self._rested_at = ended + min(self._pace.rest_s, took_s)

    def _replay(self) -> None:
        """A piece of what detached lanes lack; those that have caught up are taken back."""
        self._rewinds.update(self._feed.attach(self._next))
        due = self._feed.due()
        if due:
            self._replayer = self._replayer or Replayer(self._bootstrap, self._feed, self._pace)
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
            self._feed.signals.hears = self._hearing.ask()
            if self._feed.signals.hears and offsets:
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


_FINAL = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
}
