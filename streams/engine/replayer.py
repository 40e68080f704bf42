"""Reading again for lanes that are behind the others of their feed, or new."""

import logging
from collections.abc import Mapping

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import Message

from streams.engine.batch import Place
from streams.engine.client import Hearing, batches_of, client_config, from_position, say
from streams.engine.feed import Feed

#: Records that the replayer hands over at once, and seconds that it may gather them.
REPLAY_RECORDS, REPLAY_S = 1_000, 0.02


class Replayer:
    """Reads again for detached lanes, without the group."""

    def __init__(self, bootstrap: str, feed: Feed) -> None:
        self._feed = feed
        self._next: dict[Place, int] = {}
        config = {**client_config(bootstrap, f"marea.{feed.name}.replay"), "fetch.error.backoff.ms": 100}
        self._client = KafkaConsumer(config, logger=logging.getLogger(__name__))
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
