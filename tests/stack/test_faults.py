"""Programs die under load, at any moment: nothing accepted is lost, doubled or left behind."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count, islice

import pytest
import requests
from confluent_kafka.admin import AdminClient

from kernel import settings
from local.stack import Stack
from ops.verify import verify
from streams.feeds import feeds
from tests.stack.shop import Shop, eventually, lines_of

CLIENTS = 4
#: Accepted orders before and after a program dies.
BEFORE, AFTER = 150, 150

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
    "registry",
    "nginx",
]


class Buyers:
    """Clients that buy without pause. Each repeats an order, under its key, until it has an answer to it."""

    def __init__(self, skus: list[str]) -> None:
        self.accepted: list[str] = []
        self.failures: list[str] = []
        self._skus = skus
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._buy, args=(n,)) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _buy(self, client: int) -> None:
        shop = Shop()
        for number in count():
            if self._stop.is_set():
                return
            lines = [(self._skus[(number + n) % len(self._skus)], 1) for n in range(3)]
            answer = eventually(partial(self._try, shop, lines, f"{shop.name}-{number}"))
            if answer.status_code == 201:
                self.accepted.append(answer.json()["id"])
            else:
                self.failures.append(answer.text)

    @staticmethod
    def _try(shop: Shop, lines: list[tuple[str, int]], key: str) -> requests.Response | None:
        """None is 'try again': the front door or the service is away for the moment."""
        try:
            answer = shop.order(lines, key=key)
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            return None
        return None if answer.status_code in (502, 503, 504) else answer


@contextmanager
def buying(skus: list[str]) -> Iterator[Buyers]:
    buyers = Buyers(skus)
    try:
        yield buyers
    finally:
        buyers.stop()


@pytest.fixture(scope="module")
def skus(stack: Stack) -> list[str]:
    shop = Shop()
    return [shop.stocked(f"item{n}", 1_000_000) for n in range(20)]


@pytest.mark.parametrize("victim", VICTIMS)
def test_nothing_is_lost_or_doubled_when_a_program_is_killed_under_load(
    stack: Stack, skus: list[str], victim: str
) -> None:
    shop, parked = Shop(), verify().parked
    with buying(skus) as buyers:
        eventually(lambda: len(buyers.accepted) >= BEFORE)
        stack.kill(victim)
        stack.wait_ready(victim)
        soon = len(buyers.accepted) + AFTER
        eventually(lambda: len(buyers.accepted) >= soon)
    assert buyers.failures == []
    assert len(set(buyers.accepted)) == len(buyers.accepted)
    for order_id in buyers.accepted:
        assert shop.settled(order_id)["status"] == "confirmed"
    report = verify()
    assert report.differences == []
    assert report.parked == parked


def test_a_broker_that_is_away_for_long_is_found_again(stack: Stack, skus: list[str]) -> None:
    """For so long that Kafka's clients are opened anew."""
    shop = Shop()
    logs = [stack.layout.log(worker) for worker in ("worker-1", "worker-2")]

    def given_up() -> list[int]:
        return [log.read_text().count("BrokerSilent") for log in logs]

    before = given_up()
    stream = shop.http.get(f"{shop.url}/v1/stock/stream", stream=True, timeout=30)
    lines = lines_of(stream)
    assert next(lines).startswith("id: ")
    stack.stop("kafka")
    try:
        order_id = shop.order([(skus[0], 1)]).json()["id"]
        said = list(islice(lines, 10))
        assert len(said) < 10, "it ends, for its client to come back"
        eventually(lambda: all(now > then for now, then in zip(given_up(), before, strict=True)))
    finally:
        stack.start("kafka")
        stack.wait_ready("kafka")
    assert shop.settled(order_id)["status"] == "confirmed"
    assert verify().differences == []


def members() -> set[int]:
    """How many workers each group has."""
    admin = AdminClient({"bootstrap.servers": settings.kafka()})
    groups = admin.describe_consumer_groups([f"marea.{feed}" for feed in feeds()])
    return {len(answer.result(timeout=10).members) for answer in groups.values()}


def test_a_worker_that_stands_still_until_it_is_expelled_takes_its_share_back(
    stack: Stack, skus: list[str]
) -> None:
    """As when its machine stalls: it wakes up in the middle of batches that others have taken over."""
    shop = Shop()
    with buying(skus) as buyers:
        eventually(lambda: len(buyers.accepted) >= BEFORE)
        stack.kill("worker-1", signal.SIGSTOP)
        try:
            eventually(lambda: members() == {1})
        finally:
            stack.kill("worker-1", signal.SIGCONT)
        eventually(lambda: members() == {2})
        soon = len(buyers.accepted) + AFTER
        eventually(lambda: len(buyers.accepted) >= soon)
    assert buyers.failures == []
    for order_id in buyers.accepted:
        assert shop.settled(order_id)["status"] == "confirmed"
    assert verify().differences == []


def test_a_worker_that_is_stopped_leaves_its_work_to_the_other_and_takes_its_share_back(
    stack: Stack, skus: list[str]
) -> None:
    shop = Shop()
    stack.stop("worker-1")
    order_ids = [shop.order([(skus[0], 1)]).json()["id"] for _ in range(20)]
    for order_id in order_ids:
        assert shop.settled(order_id)["status"] == "confirmed"
    stack.start("worker-1")
    stack.wait_ready("worker-1")
    order_ids = [shop.order([(skus[0], 1)]).json()["id"] for _ in range(20)]
    for order_id in order_ids:
        assert shop.settled(order_id)["status"] == "confirmed"


def test_a_sink_that_is_down_stops_only_its_own_consumers(stack: Stack, skus: list[str]) -> None:
    shop = Shop()
    stack.stop("clickhouse")
    try:
        order_id = shop.order([(skus[0], 1)]).json()["id"]
        assert shop.settled(order_id)["status"] == "confirmed"
    finally:
        stack.start("clickhouse")
        stack.wait_ready("clickhouse")
    assert verify().differences == []
