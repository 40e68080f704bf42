"""How every consumer fares: how far behind its topic, whether it moves, and what it has parked."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Any

from api.services import consumers, topics
from kernel import settings
from kernel.kafka import admin_client, describe_groups
from ops.barrier import topic_ends
from ops.generations import changed, rebuildable
from ops.moments import At, moments
from ops.parked import Aggregate, Desk
from ops.positions import UNANSWERED, progress, said
from ops.trouble import Trouble, unknown
from schemas.event import Topic
from streams.engine.batch import Place
from streams.engine.consumer import consumer_id
from streams.engine.lane import MOST_FAILED
from streams.engine.stores import COUNTED, Progress
from streams.feeds import feeds

#: Seconds for which a position has to stay where it is, with events behind it, to be said to stand still.
STANDS_S = 3.0
#: Seconds between two looks at positions, and that the broker may take to answer.
_PAUSE_S, _TIMEOUT_S = 1.5, 10

#: By consumer, by partition.
Positions = Mapping[str, Mapping[int, Progress]]


@dataclass(frozen=True)
class Fare:
    """One consumer: `lag` is how many events of its topic it has not come to, `lag_s` the age of the first of them.

    `stands` are the partitions in which it does not move though it lags, `stopped` those of them in which its own
    code has failed too often, `unread` those that no worker reads, `ahead` those whose log ends before its position.
    `reason` and `since` are of the event that has been parked for longest, or of one on which it has stopped. `is_mixed`
    says that other code than this has written to its live generation, too.
    """

    name: str
    lag: int
    lag_s: float = 0.0
    parked: int = 0
    stands: tuple[int, ...] = ()
    stopped: tuple[int, ...] = ()
    unread: tuple[int, ...] = ()
    ahead: tuple[int, ...] = ()
    reason: str = ""
    since: datetime | None = None
    is_mixed: bool = False

    @property
    def state(self) -> str:
        """In words."""
        if self.ahead:
            return f"ahead of its topic in {_partitions(self.ahead)}: its log has gone back"
        if self.stopped:
            return f"stopped, its code fails: {self.reason}"
        if self.unread:
            return f"not read by any worker in {_partitions(self.unread)}"
        if self.stands:
            return f"stands still in {_partitions(self.stands)}"
        state = "catches up" if self.lag else "up to date"
        return f"{state}, with rows of other code: see ./marea rebuild --changed" if self.is_mixed else state

    def as_json(self) -> dict[str, Any]:
        """For `status --json`."""
        since = self.since.isoformat() if self.since else None
        lag_s = round(self.lag_s, 3) if math.isfinite(self.lag_s) else None
        return {**vars(self), "lag_s": lag_s, "since": since, "state": self.state}


def fares() -> list[Fare]:
    """Every consumer. Raises one of UNANSWERED.

    Takes STANDS_S when one stands still, and less when all move.
    """
    unread = unassigned()
    before = progress()
    ends = topics_ends()  # after the first look: of a log that only grows, no position read before is beyond its end
    after = _until_moved(before, ends)
    lag_s = lags_s(after, ends)
    with_parked = [name for name, at in after.items() if any(each.parked for each in at.values())]
    parked = Desk().aggregates(with_parked) if with_parked else []
    mixed = {consumer_id(rebuildable()[name]) for name in changed()}
    return [
        fare(
            name,
            (ends[consumer.topic], before[name], after[name]),
            [place.partition for place in unread[feed] if place.topic == consumer.topic],
            [one for one in parked if one.lane.consumer == name],
            lag_s=lag_s[name],
            is_mixed=name in mixed,
        )
        for feed, (mine, _) in feeds().items()
        for consumer in mine
        for name in [consumer_id(consumer)]
    ]


def fare(
    name: str,
    looks: tuple[Mapping[int, int], Mapping[int, Progress], Mapping[int, Progress]],
    unread: Iterable[int],
    parked: Iterable[Aggregate],
    *,
    lag_s: float = 0.0,
    is_mixed: bool = False,
) -> Fare:
    """One consumer, by the ends of its topic, and its progress right before that and some time later."""
    ends, before, after = looks
    stands = [p for p, end in ends.items() if before[p].position < end and before[p].position == after[p].position]
    ahead = [p for p, end in ends.items() if before[p].position > end]
    stopped = [p for p in stands if after[p].counted >= MOST_FAILED]
    heads = [(one.head, one.lane.partition) for one in parked]
    told = [head for head, partition in heads if not stopped or (partition in stopped and head.cause in COUNTED)]
    since, reason = min(((head.since, head.reason) for head in told), default=(None, ""))
    return Fare(
        name,
        sum(max(0, end - after[p].position) for p, end in ends.items()),
        lag_s,
        sum(sum(at.parked.values()) for at in after.values()),
        tuple(stands),
        tuple(stopped),
        tuple(unread),
        tuple(ahead),
        reason,
        since,
        is_mixed,
    )


def troubles(found: Iterable[Fare]) -> list[Trouble]:
    """What of it needs somebody."""
    return [trouble for each in found for trouble in _troubles(each)]


def look() -> list[Trouble]:
    """What needs somebody now."""
    try:
        return troubles(fares())
    except UNANSWERED as error:
        return [unknown("the consumers", said(error))]


def _troubles(each: Fare) -> Iterator[Trouble]:
    if each.ahead:
        yield Trouble(each.name, f"it is {each.state}: restore the topic, or rebuild the consumer")
    elif each.stopped or each.unread or each.stands:
        way_back = "; it goes on by itself with code that does not" if each.stopped else ""
        yield Trouble(each.name, f"{each.lag:,} events behind, {each.state}{way_back}")
    if each.parked:
        why = f"{each.parked:,} events could not be applied: {each.reason} (see ./marea parked list)"
        yield Trouble(f"what {each.name} has parked", why, each.since, still=False)


def lags_s(positions: Positions, ends: Mapping[str, Mapping[int, int]]) -> dict[str, float]:
    """By consumer, the age in seconds of the oldest event that it has not come to; 0 when it has come to all.

    Infinite when its topic does not have that event any more.
    """
    now = datetime.now(UTC)
    wanted = {
        name: [
            At(Place(topic, partition), at.position)
            for topic in [_topics()[name]]
            for partition, at in mine.items()
            if at.position < ends[topic][partition]
        ]
        for name, mine in positions.items()
    }
    found = moments(settings.kafka(), {at for mine in wanted.values() for at in mine})
    return {name: max((_age_s(found.get(at), now) for at in mine), default=0.0) for name, mine in wanted.items()}


def _age_s(moment: datetime | None, now: datetime) -> float:
    return max(0.0, (now - moment).total_seconds()) if moment else math.inf


def _topics() -> dict[str, Topic]:
    return {consumer_id(consumer): consumer.topic for consumer in consumers()}


def topics_ends() -> dict[str, dict[int, int]]:
    """By topic and partition, the offset that the next event gets."""
    kafka = admin_client(settings.kafka())
    return {topic: topic_ends(kafka, topic) for topic in topics()}


def _until_moved(before: Positions, ends: Mapping[str, Mapping[int, int]]) -> Positions:
    """Looks again until every partition that lags has moved, for STANDS_S at most: each look costs the stores some."""
    topic_of = _topics()
    lagging = {
        (name, partition): at.position
        for name, partitions in before.items()
        for partition, at in partitions.items()
        if at.position < ends[topic_of[name]][partition]
    }
    deadline = monotonic() + STANDS_S
    after = before
    while lagging and monotonic() < deadline:
        sleep(_PAUSE_S)
        after = progress()
        lagging = {at: position for at, position in lagging.items() if after[at[0]][at[1]].position == position}
    return after


def unassigned() -> dict[str, list[Place]]:
    """By feed, the partitions that are assigned to nobody."""
    topics_of = {name: {str(each.topic) for each in mine} for name, (mine, _) in feeds().items()}
    groups = {f"marea.{name}": name for name in topics_of}
    found: dict[str, list[Place]] = {}
    for group, described in describe_groups(settings.kafka(), list(groups), _TIMEOUT_S).items():
        assigned = [at for each in described.members for at in each.assignment.topic_partitions]
        read = {Place(at.topic, at.partition) for at in assigned}
        wanted = {Place(topic, p) for topic in topics_of[groups[group]] for p in range(settings.partitions())}
        found[groups[group]] = sorted(wanted - read)
    return found


def _partitions(numbers: Sequence[int]) -> str:
    return f"partition{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
