"""A worker runs the feeds that it is told to run, with the settings of their sinks and of no other."""

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from api.services import service, services
from kernel.settings import MissingSetting
from streams.engine.feed import Feed
from streams.feeds import UnknownFeed, chosen, feeds, needs, open_store, open_timer, reacting
from tests.events import CODEC

if TYPE_CHECKING:
    from streams.app import FeedWorker  # to import it, settings are needed

#: What every worker has. Nobody listens there.
COMMON = {"KAFKA": "127.0.0.1:1", "PARTITIONS": "4", "REGISTRY_URL": "http://127.0.0.1:1"}
REACTING = [each.name for each in services() if each.reactions]
SINKS = {
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "CLICKHOUSE_URL": "http://127.0.0.1:1/marea",
    **{f"{name.upper()}_DATABASE_URL": f"postgresql://{name}@127.0.0.1:1/marea" for name in REACTING},
}
PATIENCE_S = 10.0


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes these the only settings that there are."""
    for name in [name for name in os.environ if name.startswith("MAREA_")]:
        monkeypatch.delenv(name)

    def tell(**settings: str) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(f"MAREA_{name}", value)

    return tell


def of(feed: str) -> dict[str, str]:
    return {name: SINKS.get(name, f"the value of {name}") for name in needs(feed)}


def read_by_calls(name: str) -> list[str]:
    """The settings that must be there for the calls of a service."""
    read = {setting for call in service(name).calls for setting in (*call.settings, *call.secrets)}
    return sorted(read - service(name).settings.keys())


def test_a_worker_runs_all_feeds_unless_it_is_told_which(told: Callable[..., None]) -> None:
    assert chosen() == ["views", "tables", *(f"reactions.{name}" for name in REACTING)]
    told(FEEDS="tables,views")
    assert chosen() == ["tables", "views"]


def test_a_feed_that_there_is_not_is_refused_with_those_that_there_are(told: Callable[..., None]) -> None:
    told(FEEDS="views,veiws,reactions.nobody")
    with pytest.raises(UnknownFeed) as refused:
        chosen()
    assert str(refused.value) == f"MAREA_FEEDS names reactions.nobody, veiws: there are {', '.join(feeds())}"


def test_a_feed_needs_the_settings_of_its_own_sink() -> None:
    assert {name: needs(name) for name in feeds()} == {
        "views": ("REDIS_URL",),
        "tables": ("CLICKHOUSE_URL",),
        **{f"reactions.{name}": (f"{name.upper()}_DATABASE_URL", *read_by_calls(name)) for name in REACTING},
    }


def test_a_services_deadlines_are_carried_out_where_its_reactions_are(told: Callable[..., None]) -> None:
    punctual = [each.name for each in services() if each.deadlines]
    assert punctual
    found = [each.name for each in reacting(chosen()) if each.deadlines]
    assert found == punctual
    assert [each.name for each in reacting([f"reactions.{punctual[0]}"])] == [punctual[0]]
    assert reacting(["views", "tables"]) == []
    told(**of(f"reactions.{punctual[0]}"))
    open_timer(punctual[0])


@pytest.mark.parametrize("feed", feeds())
def test_a_sink_is_opened_with_what_its_feed_needs_and_with_nothing_less(
    told: Callable[..., None], feed: str
) -> None:
    with pytest.raises(MissingSetting, match=f"MAREA_{needs(feed)[0]} is not set"):
        open_store(feed)
    told(**of(feed))
    open_store(feed)


@pytest.mark.parametrize("feed", feeds())
def test_a_worker_of_one_feed_starts_with_the_settings_of_its_sink_only(
    told: Callable[..., None], monkeypatch: pytest.MonkeyPatch, feed: str
) -> None:
    told(**COMMON, **of(feed), FEEDS=feed)
    from streams import app  # it is put together when it is imported

    monkeypatch.setattr(app, "codec", lambda: CODEC)
    [worker] = app.create_app().workers
    assert asyncio.run(started(worker, monkeypatch)) == feed


async def started(worker: "FeedWorker", monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the feed that a worker reads for, once it has opened its store. Raises TimeoutError."""
    from streams import app

    reads = asyncio.get_running_loop().create_future()

    class Idle:
        """In place of a Source: reads nothing."""

        def __init__(self, bootstrap: str, feed: Feed, *arguments: object) -> None:
            self._name = feed.name

        def start(self, ended: Callable[[Exception | None], None]) -> None:
            self._ended = ended
            reads.set_result(self._name)

        def stop(self) -> None:
            self._ended(None)

        def join(self, timeout_s: float) -> None:
            pass

    monkeypatch.setattr(app, "Source", Idle)
    await worker.start()
    try:
        return str(await asyncio.wait_for(reads, PATIENCE_S))
    finally:
        await worker.stop()
