"""Reading again for lanes that are behind the others of their feed, or new."""

import logging
from collections.abc import Mapping, Sequence
from time import monotonic

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import Message

from streams.engine.batch import Batch, Place
from streams.engine.client import Hearing, batches_of, client_config, from_position, say
from streams.engine.feed import Feed
from streams.engine.pace import Pace, Portion

#: Records that the replayer hands over at once, at most, and seconds that it may gather them: the others wait meanwhile.
REPLAY_RECORDS, REPLAY_S = 1_000, 0.02


class Replayer:
    """Reads again for detached lanes, without the group."""

    def __init__(self, bootstrap: str, feed: Feed, pace: Pace) -> None:
        self._feed = feed
        self._portion = Portion(pace._replace(records=min(REPLAY_RECORDS, pace.records)))
        self._next: dict[Place, int] = {}
        config = {**client_config(bootstrap, f"marea.{feed.name}.replay"), "fetch.error.backoff.ms": 100}
        self._client = KafkaConsumer(config, logger=logging.getLogger(__name__))
        self.hearing = Hearing(self._client, feed.topics[0])

    def replay(self, due: Mapping[Place, int]) -> None:
        """Hands over what has arrived of these positions and what follows them, as much at once as the pace allows."""
        is_lacking = any(place not in self._next or offset < self._next[place] for place, offset in due.items())
        if is_lacking or self._next.keys() - due.keys():
            self._next = dict(due)
            self._client.assign([from_position(*at) for at in due.items()])
        try:
            records = [message for message in self._poll() if self._is_record(message)]
            self._apply(batches_of(self._feed, records, self._next))
        except Exception:
            self._next.clear()  # what was read and not handed over is read again
            raise

    def close(self) -> None:
        """Ends the client."""
        self._client.close()

    def _poll(self) -> list[Message]:
        until = monotonic() + REPLAY_S
        first = self._client.poll(REPLAY_S)
        return [] if first is None else self._portion.gather(self._client, first, until)

    def _apply(self, batches: Sequence[Batch]) -> None:
        began = monotonic()
        self._feed.replay(batches)
        self._portion.learn(sum(len(batch.items) for batch in batches), monotonic() - began)

    def _is_record(self, message: Message) -> bool:
        if message.error() is None:
            return True
        say(self._feed, message)
        return False
