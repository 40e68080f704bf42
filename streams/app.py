"""The Faust app: an agent for every consumer, fed with batches. `faust -A streams.app worker` runs all of them.

Faust supervises; its own Kafka consumer and producer stay off. Each agent reads a channel to which a Source offers
batches, one offer at a time, and decides when they are applied and what happens when that fails; they are applied
in the source's thread, so a slow or stopped sink slows down just its own consumer.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import faust
from tenacity import AsyncRetrying, RetryCallState, wait_random_exponential

from api.services import consumers
from kernel import settings
from schemas.codec import TOPICS
from schemas.registry import codec
from streams.engine.batch import Batch
from streams.engine.consumer import Consumer, Reaction, Table, View, consumer_id
from streams.engine.runtime import Runtime, collect_rarely
from streams.engine.source import Offer, Source, check_topics, settle_from_thread
from streams.engine.stores import Store
from streams.engine.stores.clickhouse import ClickHouseStore
from streams.engine.stores.postgres import PostgresStore
from streams.engine.stores.redis import RedisStore
from streams.engine.stores.redis import connect as connect_redis

log = logging.getLogger(__name__)
logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for every schema that is looked up

#: Seconds that a source gets to leave its group when the worker stops.
STOP_S = 5.0
#: Seconds that a worker gathers a table's records: ClickHouse wants few large inserts, about one a second.
TABLE_LINGER_S = 2.0


class App(faust.App):
    """Refuses to start on topics from which nothing could be rebuilt."""

    class BootStrategy(faust.app.BootStrategy):
        """Without Faust's consumer and producer."""

        enable_kafka = False
        enable_kafka_consumer = False
        enable_kafka_producer = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.feeds: list[Feed] = []

    async def stop(self) -> None:
        """All sources leave at the same time; Faust stops its services one after the other."""
        for feed in self.feeds:
            feed.leave()
        await super().stop()

    async def on_first_start(self) -> None:
        """Nothing: Faust would make a data folder for its own tables, and there are none."""

    async def on_start(self) -> None:
        """Raises UnfitTopic, which ends the worker."""
        collect_rarely()
        await asyncio.to_thread(check_topics, settings.kafka(), TOPICS, settings.partitions())
        await super().on_start()

    async def on_started(self) -> None:
        """Lets the channels flow: without Faust's own consumer nothing else does."""
        await super().on_started()
        self.flow_control.resume()


def open_store(consumer: Consumer) -> Store:
    """The store in which a consumer keeps its effects and its position."""
    match consumer:
        case View():
            return RedisStore(connect_redis(settings.redis_url()), consumer)
        case Table():
            return ClickHouseStore(settings.clickhouse_url(), consumer)
        case Reaction():
            return PostgresStore(settings.database_url(consumer.service), consumer)


class Feed(faust.Service):
    """One consumer at work: its source, its runtime, and the agent between them.

    Whatever fails is tried again with growing, random pauses, for as long as it takes: the position says what is
    still to do, so trying again loses and doubles nothing.
    """

    def __init__(self, app: App, consumer: Consumer) -> None:
        super().__init__()
        self._consumer = consumer
        self._channel = app.channel(maxsize=1)
        self._runtime: Runtime | None = None
        self._source: Source | None = None
        self._loop: asyncio.AbstractEventLoop
        app.agent(self._channel, name=consumer_id(consumer))(self._process)

    async def on_stop(self) -> None:
        """Leaves the group, so that other workers take over at once."""
        self.leave()
        if self._source:
            await asyncio.to_thread(self._source.join, STOP_S)

    def leave(self) -> None:
        """Asks the source to leave its group, and does not wait for it."""
        if self._source:
            self._source.stop()

    @faust.Service.task
    async def _read(self) -> None:
        await self._persist(self._read_once)

    async def _read_once(self) -> None:
        self._loop = asyncio.get_running_loop()
        group = f"marea.{consumer_id(self._consumer)}"
        linger_s = TABLE_LINGER_S if isinstance(self._consumer, Table) else 0.0
        self._source = Source(settings.kafka(), group, self._consumer.topic, self, linger_s)
        ended = self._loop.create_future()
        self._source.start(lambda error: settle_from_thread(ended, error))
        await ended

    async def _process(self, stream: Any) -> None:
        async for offer in stream:
            # Once without the machinery for trying again, which costs more than most batches.
            try:
                await offer.apply()
            except Exception:  # noqa: BLE001  # whatever it is, it is said when it happens again
                await self._persist(offer.apply)

    def offer(self, offer: Offer) -> None:
        """Puts the offer into the agent's channel."""
        asyncio.run_coroutine_threadsafe(self._channel.put(offer), self._loop)  # type: ignore[arg-type]

    def assign(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """Takes partitions on, from their stored positions."""
        if self._runtime is None:
            self._runtime = Runtime(self._consumer, open_store(self._consumer), codec())
        return self._runtime.assign(partitions)

    def revoke(self, partitions: Sequence[int]) -> None:
        """Lets partitions go to another worker."""
        if self._runtime:
            self._runtime.revoke(partitions)

    def apply(self, batches: Sequence[Batch]) -> Mapping[int, int]:
        """Applies batches; gives the partitions to read again, and from which offset."""
        assert self._runtime, "nothing is read before partitions are assigned"
        return self._runtime.handle(batches)

    def recheck(self) -> Mapping[int, int]:
        """Looks whether the store is where it was left; while the store does not answer, says so and gives nothing."""
        try:
            return self._runtime.recheck() if self._runtime else {}
        except Exception as error:  # noqa: BLE001  # whatever it is, the next look is soon
            log.warning("%s: can't be rechecked: %s", consumer_id(self._consumer), error)
            return {}

    def positions(self) -> Mapping[int, int]:
        """How far each partition has been applied."""
        return self._runtime.positions() if self._runtime else {}

    async def _persist(self, work: Any, *arguments: Any) -> None:
        async for attempt in AsyncRetrying(
            wait=wait_random_exponential(multiplier=0.05, max=2),
            stop=lambda _: self.should_stop,
            before_sleep=self._say,
            reraise=True,
        ):
            with attempt:
                await work(*arguments)

    def _say(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning(
            "%s: stopped, tries again (attempt %d): %s: %s",
            consumer_id(self._consumer),
            state.attempt_number,
            type(error).__name__,
            str(error).strip(),
        )


def create_app() -> App:
    """The app with a feed for every consumer that there is."""
    marea = App("marea", broker=f"kafka://{settings.kafka()}", topic_disable_leader=True, web_enabled=False)
    marea.feeds = [Feed(marea, consumer) for consumer in consumers()]
    for feed in marea.feeds:
        marea.service(feed)  # type: ignore[arg-type]  # takes instances too
    return marea


app = create_app()
