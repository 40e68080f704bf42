"""How many records are handled at once, of a feed and of its replayer."""

from time import monotonic
from typing import NamedTuple

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import Message

#: Records in a batch at first, and in one call of the client.
FIRST_RECORDS, AT_ONCE = 500, 500
#: How many times as many records as there are one call may add: what a small one weighs says little of what follows it.
GROWTH = 10


class Pace(NamedTuple):
    """How much of what arrives is handled at once.

    `linger_s` is how long records are gathered for, for sinks that want few large writes; others rest after each batch
    for as long as applying it took, at most `rest_s`: the busier the machine, the larger the batches, and the less each
    event costs, and what comes to a feed that has rested is handled at once. A batch has at most `records`, and about as
    many `bytes` of values.

    `apply_s` is how long applying a batch should take at most: locks are held for no longer, and others get their turn.
    """

    records: int
    bytes: int
    rest_s: float = 0.0
    linger_s: float = 0.0
    apply_s: float = 0.25


class Portion:
    """How much is handled next, as a pace wants it: at most as many records, `most`, as lately took its `apply_s`."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.most = min(FIRST_RECORDS, pace.records)

    def gather(self, client: KafkaConsumer, first: Message, until: float) -> list[Message]:
        """The first message and what follows it, until there is enough, or by then, in seconds of monotonic()."""
        messages, size = [first], len(first)
        while room := self.room(len(messages), size):
            left_s = max(0.0, until - monotonic())
            more = client.consume(room, left_s)
            messages += more
            size += sum(map(len, more))
            if not more and left_s == 0.0:
                break
        return messages

    def room(self, records: int, size: int) -> int:
        """How many records one call may add to those that there are, if all are as large; 0 when these are enough."""
        if records >= self.most or size >= self._pace.bytes:
            return 0
        fitting = (self._pace.bytes - size) * records // max(1, size)
        return max(1, min(AT_ONCE, GROWTH * records, self.most - records, fitting))

    def learn(self, handled: int, took_s: float) -> None:
        """So many records have been applied in this time: fewer come next when it was too long, more when they can."""
        if took_s > self._pace.apply_s:
            self.most = max(1, int(handled * self._pace.apply_s / took_s))
        elif handled >= self.most:
            self.most = min(self._pace.records, 2 * self.most)
