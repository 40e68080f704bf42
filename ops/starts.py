"""Where reactions begin that start now, noted before anybody reads or writes: from then on they miss nothing."""

from contextlib import closing

from confluent_kafka import KafkaError, KafkaException
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from api.services import services
from kernel import settings
from ops.consumers import topics_ends
from streams.engine.stores.postgres import PostgresStore

#: What is said of a topic that was made just now, and for how many seconds it may be.
_EARLY = frozenset({
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
})
_EARLY_S = 30.0


def note_starts() -> None:
    """At the ends of their topics; those that are noted stay."""
    starting = {each.name: [one for one in each.reactions if one.start == "now"] for each in services()}
    ends = _ends() if any(starting.values()) else {}
    for name, mine in starting.items():
        if mine:
            with closing(PostgresStore(settings.database_url(name), mine)) as store:
                store.begin(ends)


def _ends() -> dict[str, dict[int, int]]:
    attempts = Retrying(
        retry=retry_if_exception(_is_early),
        stop=stop_after_delay(_EARLY_S),
        wait=wait_random_exponential(0.1, 1.0),
        reraise=True,
    )
    return attempts(topics_ends)


def _is_early(error: BaseException) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() in _EARLY
