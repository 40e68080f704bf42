"""The workers' composition root: an agent for each feed, and what carries out deadlines and makes calls. `faust -A streams.app worker` runs all that MAREA_FEEDS names.

Faust supervises; its own Kafka consumer and producer stay off. Each agent reads a channel on which a Source offers
turns, one at a time, and decides when they are taken and what happens when that fails; the work is done in the
source's thread, so a slow or stopped sink slows down just its own feed.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from threading import Event
from time import monotonic
from typing import Any

import faust
from tenacity import AsyncRetrying, RetryCallState, wait_random_exponential

from api.services import topics
from kernel import health, settings
from kernel.events import codec
from kernel.refusals import Unavailable
from streams.engine.caller import Caller
from streams.engine.consumer import Consumer
from streams.engine.feed import Feed
from streams.engine.garbage import collect_rarely
from streams.engine.pace import Pace
from streams.engine.signals import Signals
from streams.engine.source import Source
from streams.engine.timer import Timer
from streams.engine.topics import check_topics
from streams.engine.turn import Turn, settle_from_thread
from streams.feeds import chosen, feed_of, feeds, open_caller, open_store, open_timer, reacting

log = logging.getLogger(__name__)
logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for every schema that is looked up

#: Seconds that a source gets to leave its group when the worker stops.
STOP_S = 5.0


class App(faust.App):
    """Refuses to start on topics from which nothing could be rebuilt."""

    class BootStrategy(faust.app.BootStrategy):
        """Without Faust's consumer and producer."""

        enable_kafka = False
        enable_kafka_consumer = False
        enable_kafka_producer = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.workers: list[FeedWorker] = []

    async def stop(self) -> None:
        """All sources leave at the same time; Faust stops its services one after the other."""
        for worker in self.workers:
            worker.leave()
        await super().stop()

    async def on_first_start(self) -> None:
        """Nothing: Faust would make a data folder for its own tables, and there are none."""

    async def on_start(self) -> None:
        """Raises UnfitTopic, which ends the worker."""
        collect_rarely()
        await asyncio.to_thread(check_topics, settings.kafka(), topics(), settings.partitions())
        health.serve(self.check_ready)
        await super().on_start()

    def check_ready(self) -> None:
        """Raises Unavailable when a feed does not read what it should, or is not fresh enough."""
        for worker in self.workers:
            worker.check_fresh()

    async def on_started(self) -> None:
        """Lets the channels flow: without Faust's own consumer nothing else does."""
        await super().on_started()
        self.flow_control.resume()


class FeedWorker(faust.Service):
    """One feed at work: its source, and the agent that has the work done.

    Whatever fails is tried again with growing, random pauses, for as long as it takes: the positions say what is
    still to do, so trying again loses and doubles nothing.
    """

    def __init__(
        self, app: App, name: str, consumers: list[Consumer], pace: Pace, committed: Event | None
    ) -> None:
        """`committed` is set when reactions have done something, which may be to ask for a call."""
        super().__init__()
        self._committed = committed
        self._name, self._consumers, self._pace = name, consumers, pace
        self._channel = app.channel(maxsize=1)
        self._source: Source | None = None
        self._signals: Signals | None = None
        self._loop: asyncio.AbstractEventLoop
        app.agent(self._channel, name=name)(self._process)

    async def on_stop(self) -> None:
        """Leaves the group, so that other workers take over at once."""
        self.leave()
        if self._source:
            await asyncio.to_thread(self._source.join, STOP_S)

    def leave(self) -> None:
        """Asks the source to leave its group, and does not wait for it."""
        if self._source:
            self._source.stop()

    def check_fresh(self) -> None:
        """Raises Unavailable when what is applied is older than the objective of its kind."""
        objective_s = settings.objective_s(self._consumers[0].kind)
        behind_s = monotonic() - self._signals.fresh_at if self._signals else math.inf
        if behind_s > objective_s:
            raise Unavailable(
                f"{self._name} has not been up to date for {behind_s:,.0f} s, and {objective_s:,.0f} s are its objective:"
                " see ./marea status, and this worker's log"
            )

    @faust.Service.task
    async def _read(self) -> None:
        await self._persist(self._read_once)

    async def _read_once(self) -> None:
        self._loop = asyncio.get_running_loop()
        decoder = await asyncio.to_thread(codec)
        feed = Feed(self._name, self._consumers, open_store(self._name, self._committed), decoder)
        self._signals = feed.signals
        self._source = Source(settings.kafka(), feed, self._pace, self._offer)
        ended = self._loop.create_future()
        self._source.start(lambda error: settle_from_thread(ended, error))
        await ended

    async def _process(self, stream: Any) -> None:
        async for turn in stream:
            # Once without the machinery for trying again, which costs more than most batches.
            try:
                await turn.take()
            except Exception:  # noqa: BLE001  # whatever it is, it is said when it happens again
                await self._persist(turn.take)

    def _offer(self, turn: Turn) -> None:
        """From the source's thread: puts the turn into the agent's channel."""
        asyncio.run_coroutine_threadsafe(self._channel.put(turn), self._loop)  # type: ignore[arg-type]

    async def _persist(self, work: Any) -> None:
        async for attempt in AsyncRetrying(
            wait=wait_random_exponential(multiplier=0.05, max=2),
            stop=lambda _: self.should_stop,
            before_sleep=self._say,
            reraise=True,
        ):
            with attempt:
                await work()

    def _say(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.warning(
            "%s: stopped, tries again (attempt %d): %s: %s",
            self._name,
            state.attempt_number,
            type(error).__name__,
            str(error).strip(),
        )


class ThreadWorker(faust.Service):
    """The deadlines or the calls of one service, in threads of their own: nothing that happens to feeds makes them late."""

    def __init__(self, open_: Callable[[], Timer | Caller]) -> None:
        super().__init__()
        self._open = open_
        self._work: Timer | Caller | None = None

    async def on_start(self) -> None:
        """Starts the threads."""
        self._work = self._open()
        self._work.start()

    async def on_stop(self) -> None:
        """Ends them, after what they are doing."""
        if self._work:
            self._work.stop()
            await asyncio.to_thread(self._work.join, STOP_S)


def create_app() -> App:
    """The app with the chosen feeds, and the deadlines and calls of the services whose reactions are among them."""
    marea = App("marea", broker=f"kafka://{settings.kafka()}", topic_disable_leader=True, web_enabled=False)
    every = feeds()
    awake = {feed_of(service.name): Event() for service in reacting(chosen())}
    marea.workers = [FeedWorker(marea, name, *every[name], awake.get(name)) for name in chosen()]
    for worker in (*marea.workers, *_beside(awake)):
        marea.service(worker)  # type: ignore[arg-type]  # takes instances too
    return marea


def _beside(awake: Mapping[str, Event]) -> Iterator[ThreadWorker]:
    for service in reacting(chosen()):
        if service.deadlines:
            yield ThreadWorker(partial(open_timer, service.name))
        if service.calls:
            yield ThreadWorker(partial(open_caller, service.name, awake[feed_of(service.name)]))


app = create_app()
