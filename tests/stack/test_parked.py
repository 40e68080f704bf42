"""Nothing that one record or one bad deploy can stop, under load; and the way back of what was parked meanwhile."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from api.services import consumers
from kernel import settings
from kernel.partition import partition_of
from local.layout import ROOT
from local.stack import Stack
from ops.consumers import Fare, fares
from ops.parked import Aggregate, Desk
from ops.rebuild import rebuild
from schemas import order
from streams.engine.batch import UNREADABLE
from streams.engine.consumer import consumer_id
from streams.engine.lane import MOST_FAILED
from tests.stack.buyers import Buyers, buying
from tests.stack.compared import compared
from tests.stack.shop import Shop, eventually

REACTION = "reaction.inventory.reservations"
#: Everything that is made of orders.
READERS = [consumer_id(each) for each in consumers() if each.topic == order.TOPIC]
WORKERS = ("worker-1", "worker-2")
#: Orders that are accepted before and after something happens.
BEFORE, AFTER = 10, 10
BAD_WORKER = (sys.executable, "-m", "faust", "-A", "tests.stack.bad_app", "worker", "-l", "warn", "--without-web")


@pytest.fixture(scope="module")
def buyers(stack: Stack) -> Iterator[Buyers]:
    assert stack
    shop = Shop()
    with buying([shop.stocked(f"item{n}", 1_000_000) for n in range(20)]) as buyers:
        yield buyers


def marea(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, as an operator has it."""
    command = (sys.executable, "-m", "cli", *arguments, "--port", str(stack.layout.port))
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def how(consumer: str) -> Fare:
    """How one consumer fares."""
    return next(each for each in fares() if each.name == consumer)


def parked_of(consumer: str) -> list[Aggregate]:
    return Desk().aggregates([consumer])


@contextmanager
def without_workers(stack: Stack) -> Iterator[None]:
    """The shipped workers are stopped, for as long as a `with` lasts."""
    for name in WORKERS:
        stack.stop(name)
    try:
        yield
    finally:
        for name in WORKERS:
            stack.start(name)
        for name in WORKERS:
            stack.wait_ready(name)


@contextmanager
def bad_worker(stack: Stack) -> Iterator[subprocess.Popen[bytes]]:
    """A worker whose reaction raises."""
    environment = {**os.environ, **stack.layout.environment}
    with subprocess.Popen(BAD_WORKER, cwd=ROOT, env=environment) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def test_a_deploy_with_a_bug_stops_its_consumer_visibly_and_after_the_fix_all_goes_on_by_itself(
    stack: Stack, buyers: Buyers
) -> None:
    shop, first = Shop(), len(buyers.accepted)
    buyers.await_more(BEFORE)
    with without_workers(stack):
        with bad_worker(stack) as worker:
            eventually(lambda: worker.poll() or len(how(REACTION).stopped) == settings.partitions())
            assert worker.poll() is None
            buyers.await_more(AFTER)
            failed = [one for aggregate in parked_of(REACTION) for one in aggregate.events if one.cause == "failed"]
            assert len(failed) == MOST_FAILED * settings.partitions(), "it did not park the whole topic"

            said = marea(stack, "status", "--check", "--json")
            assert said.returncode == 1
            assert any(
                each["what"] == REACTION and "KeyError: 'warehouse'" in each["sentence"]
                for each in json.loads(said.stdout)["troubles"]
            ), said
            last = buyers.accepted[-1]
            assert eventually(lambda: shop.get(f"/orders/{last}").ok), "other consumers go on"

        # With no worker at all: this code would apply what is parked, and to say so changes nothing.
        before = parked_of(REACTION)
        tried = marea(stack, "parked", "retry", REACTION, "--all", "--dry-run")
        assert (tried.returncode, tried.stdout.count("would have applied")) == (0, len(before)), tried
        assert parked_of(REACTION) == before
    buyers.await_more(AFTER)
    buyers.check(first)
    assert parked_of(REACTION) == []
    assert compared(*READERS).differences == []
    assert how(REACTION).state in ("up to date", "catches up")


def produce_foreign(key: bytes, partition: int) -> None:
    """A record whose schema has the name of one of ours and not its fields, with the right headers."""
    schema = {"type": "record", "name": "OrderPlaced", "namespace": order.TOPIC, "fields": [{"name": "n", "type": "int"}]}
    with SchemaRegistryClient({"url": settings.registry_url()}) as registry:
        schema_id = registry.register_schema("foreign", Schema(json.dumps(schema), "AVRO"))
    producer = Producer({"bootstrap.servers": settings.kafka()})
    headers: list[tuple[str, str | bytes | None]] = [
        ("id", str(uuid4())),
        ("type", "OrderPlaced"),
        ("version", "1"),
        ("occurred_at", "2026-01-01T00:00:00Z"),
    ]
    producer.produce(order.TOPIC, b"\0" + schema_id.to_bytes(4) + b"\2", key, partition, headers=headers)
    assert producer.flush(30) == 0


def test_records_that_are_no_events_are_parked_and_dropped_and_live_equals_rebuilt(
    stack: Stack, buyers: Buyers
) -> None:
    """A foreign schema of one of our names; a key that PostgreSQL can't keep."""
    key, unkept, first = str(uuid4()), b"\0\0\0\0\5a", len(buyers.accepted)
    names = (key, f"{UNREADABLE}{unkept.hex()}")
    buyers.await_more(BEFORE)
    produce_foreign(key.encode(), partition_of(key, settings.partitions()))
    produce_foreign(unkept, 0)
    eventually(lambda: all({*names} <= {one.key for one in parked_of(reader)} for reader in READERS))
    buyers.await_more(AFTER)
    buyers.check(first)

    shown = json.loads(marea(stack, "parked", "show", "view.order", key, "--json").stdout)
    assert [(one["cause"], one["headers"]["type"], one["value_hex"][-2:]) for one in shown] == [("record", "OrderPlaced", "02")]
    again = marea(stack, "parked", "retry", "view.order", key)
    assert (again.returncode, "1 still parked: " in again.stdout) == (1, True), again
    unheard = marea(stack, "parked", "retry", "view.order", "unheard")
    assert (unheard.returncode, "has parked nothing of 'unheard'" in unheard.stderr) == (1, True), unheard

    first_reader, *readers = READERS
    for chosen in ([key], ["--all"]):
        dropped = marea(stack, "parked", "drop", first_reader, *chosen, "--reason", "not ours")
        assert (dropped.returncode, dropped.stdout.count("dropped 1 event")) == (0, 1), dropped
    outcomes = Desk().drop([one for reader in readers for one in parked_of(reader)], "not ours")
    assert [(each.dropped, each.left) for each in outcomes] == [(1, 0)] * len(names) * len(readers)
    assert all(parked_of(reader) == [] for reader in READERS)
    facts = json.loads(marea(stack, "parked", "dropped", "view.order", "--json").stdout)
    assert [fact["reason"] for fact in facts].count("not ours") == len(names)
    assert compared(*READERS).differences == []
    assert rebuild("order").identical
    assert rebuild("orders").identical
    assert parked_of("view.order") == parked_of("table.orders") == []
