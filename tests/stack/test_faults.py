"""Programs die under load, at any moment: nothing accepted is lost, doubled or left behind.

All of these tests share one load, which never pauses: each looks after the orders that were accepted while it ran. In the
end everything is compared with PostgreSQL, once: nothing here mends what one of them may have lost.
"""

import signal
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient

from kernel import settings
from local.stack import Stack
from ops.positions import parked
from ops.verify import verify
from streams.engine.stores.redis import connect as connect_redis
from streams.feeds import feeds
from tests.stack.buyers import Buyers, buying
from tests.stack.following import following
from tests.stack.shop import Shop, eventually

#: Orders that are accepted before and after something happens.
BEFORE, AFTER = 10, 10

VICTIMS = [
    "worker-1",
    "worker-2",
    "connect",
    "redis",
    "clickhouse",
    "kafka",
    "postgresql",
    "orders",
    "inventory",
    "payments",
    "shipping",
    "provider",
    "carrier",
    "broadcast",
    "registry",
    "nginx",
    "keep",
]


@pytest.fixture(scope="module")
def skus(stack: Stack) -> list[str]:
    shop = Shop()
    return [shop.stocked(f"item{n}", 1_000_000) for n in range(20)]


@pytest.fixture(scope="module")
def buyers(skus: list[str]) -> Iterator[Buyers]:
    before = parked()
    with buying(skus) as buyers:
        yield buyers
    buyers.check()
    report = verify()
    assert report.differences == []
    assert report.parked == before


@pytest.mark.parametrize("victim", VICTIMS)
def test_nothing_is_lost_or_doubled_when_a_program_is_killed_under_load(
    stack: Stack, buyers: Buyers, victim: str
) -> None:
    first = len(buyers.accepted)
    buyers.await_more(BEFORE)
    stack.kill(victim)
    stack.wait_ready(victim)
    buyers.await_more(AFTER)
    buyers.check(first)


def test_a_broker_that_is_away_for_long_is_found_again(stack: Stack, buyers: Buyers, skus: list[str]) -> None:
    """For so long that Kafka's clients are opened anew."""
    shop, first = Shop(), len(buyers.accepted)
    logs = [stack.layout.log(program) for program in ("worker-1", "worker-2", "broadcast")]

    def given_up() -> list[int]:
        return [log.read_text().count("BrokerSilent") for log in logs]

    before = given_up()
    with following(f"{shop.url}/v1/streams/stock") as follower:
        stack.stop("kafka")
        try:
            eventually(lambda: all(now > then for now, then in zip(given_up(), before, strict=True)))
        finally:
            stack.start("kafka")
            stack.wait_ready("kafka")
        buyers.check(first)
        last = {sku: shop.get(f"/stock/{sku}").json()["version"] for sku in skus}
        eventually(lambda: all(follower.versions[sku][-1] >= version for sku, version in last.items()))
        assert follower.opened == 1, "streams wait for the broker, and end for nobody"
    for versions in follower.versions.values():
        # The relay may publish an event twice when it has lost its broker: a version comes again, and none is left out.
        assert list(dict.fromkeys(versions)) == list(range(versions[0], versions[-1] + 1))


def members() -> set[int]:
    """How many workers each group has."""
    admin = AdminClient({"bootstrap.servers": settings.kafka()})
    groups = admin.describe_consumer_groups([f"marea.{feed}" for feed in feeds()])
    return {len(answer.result(timeout=10).members) for answer in groups.values()}


def test_a_worker_that_stands_still_until_it_is_expelled_takes_its_share_back(
    stack: Stack, buyers: Buyers
) -> None:
    """As when its machine stalls: it wakes up in the middle of batches that others have taken over."""
    first = len(buyers.accepted)
    buyers.await_more(BEFORE)
    stack.kill("worker-1", signal.SIGSTOP)
    try:
        eventually(lambda: members() == {1})
    finally:
        stack.kill("worker-1", signal.SIGCONT)
    eventually(lambda: members() == {2})
    buyers.await_more(AFTER)
    buyers.check(first)


def test_a_worker_that_is_stopped_leaves_its_work_to_the_other_and_takes_its_share_back(
    stack: Stack, buyers: Buyers
) -> None:
    first = len(buyers.accepted)
    stack.stop("worker-1")
    buyers.await_more(BEFORE)
    buyers.check(first)
    stack.start("worker-1")
    stack.wait_ready("worker-1")
    first = len(buyers.accepted)
    buyers.await_more(AFTER)
    buyers.check(first)


def test_a_sink_that_is_down_stops_only_its_own_consumers(stack: Stack, buyers: Buyers) -> None:
    stack.stop("clickhouse")
    first = len(buyers.accepted)
    try:
        buyers.await_more(BEFORE)
        buyers.check(first)
    finally:
        stack.start("clickhouse")
        stack.wait_ready("clickhouse")


def test_a_redis_that_is_full_stops_its_own_feed_and_parks_nothing(stack: Stack, buyers: Buyers) -> None:
    """It refuses every write: that says nothing about any of them."""
    parked_before, first = parked(), len(buyers.accepted)
    logs = [stack.layout.log(worker) for worker in ("worker-1", "worker-2")]

    def refused() -> int:
        return sum(log.read_text().count("OutOfMemoryError") for log in logs)

    before = refused()
    with connect_redis(settings.redis_url()) as redis:
        redis.config_set("maxmemory", 1)
        try:
            buyers.await_more(BEFORE)
            eventually(lambda: refused() > before)
        finally:
            redis.config_set("maxmemory", 0)
    buyers.check(first)
    assert parked() == parked_before
