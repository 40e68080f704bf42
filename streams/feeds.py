"""Which feeds there are: everything that reads Kafka for one sink. They follow from the services' manifests."""

import os
from collections.abc import Mapping, Sequence
from threading import Event

from api.manifest import Service
from api.services import reactions, service, services, tables, views
from kernel import settings
from kernel.clock import SYSTEM
from streams.engine.caller import Caller
from streams.engine.consumer import Consumer
from streams.engine.pace import Pace
from streams.engine.stores import Store
from streams.engine.stores.clickhouse import ClickHouseStore
from streams.engine.stores.postgres import PostgresStore
from streams.engine.stores.redis import RedisStore
from streams.engine.stores.redis import connect as connect_redis
from streams.engine.timer import Timer

_MIB = 1_048_576
#: Views are read at once; tables want few large inserts, about one a second; reactions hold locks. What an insert costs
#: hardly depends on its size: on a machine that is too busy, smaller ones would only fall further behind.
_VIEWS = Pace(records=4_000, bytes=4 * _MIB, rest_s=0.03)
_TABLES = Pace(records=50_000, bytes=16 * _MIB, linger_s=1.0, apply_s=10.0)
_REACTIONS = Pace(records=2_000, bytes=_MIB, rest_s=0.03)


#: What the names of reactions' feeds begin with; the service's follows.
_OF_SERVICE = "reactions."


class UnknownFeed(Exception):
    """MAREA_FEEDS names a feed that there is not."""


def feeds() -> Mapping[str, tuple[list[Consumer], Pace]]:
    """Every feed by name, with its consumers: one for all views, one for all tables, one for each service's reactions."""
    found: dict[str, tuple[list[Consumer], Pace]] = {
        "views": (list(views().values()), _VIEWS),
        "tables": (list(tables().values()), _TABLES),
    }
    for each in services():
        if each.reactions:
            found[feed_of(each.name)] = (list(each.reactions), _REACTIONS)
    return found


def open_store(name: str, committed: Event | None = None) -> Store:
    """The sink of a feed. A process needs the credentials of its own feeds only.

    `committed` is set when reactions have done something.
    """
    match name.split("."):
        case ["views"]:
            return RedisStore(connect_redis(settings.redis_url()), views().values())
        case ["tables"]:
            return ClickHouseStore(settings.clickhouse_url(), tables().values())
        case ["reactions", owner]:
            mine = [each for each in reactions().values() if each.service == owner]
            return PostgresStore(settings.database_url(owner), mine, committed)
    raise UnknownFeed(name)


def reacting(names: Sequence[str]) -> list[Service]:
    """The services whose reactions are among these feeds: their deadlines are carried out and their calls made beside them."""
    return [each for each in services() if feed_of(each.name) in names]


def feed_of(service: str) -> str:
    """The name of the feed of a service's reactions."""
    return f"{_OF_SERVICE}{service}"


def open_timer(name: str) -> Timer:
    """What carries out the deadlines of a service."""
    return Timer(settings.database_url(name), service(name).deadlines, SYSTEM)


def open_caller(name: str, awake: Event) -> Caller:
    """What makes the calls of a service, at once when `awake` is set. Raises MissingSetting."""
    each = service(name)

    def read(setting: str) -> str:
        return settings.setting(setting, each.settings.get(setting))

    return Caller(settings.database_url(name), each.calls, read, SYSTEM, awake)


def chosen() -> list[str]:
    """The feeds that this process runs: those that MAREA_FEEDS names, separated by commas, or all. Raises UnknownFeed."""
    names = [name for name in os.environ.get("MAREA_FEEDS", "").split(",") if name] or list(feeds())
    unknown = sorted({*names} - feeds().keys())
    if unknown:
        raise UnknownFeed(f"MAREA_FEEDS names {', '.join(unknown)}: there are {', '.join(feeds())}")
    return names


def needs(name: str) -> tuple[str, ...]:
    """The settings, without their prefix, that a feed needs beside those of every worker; its service's calls, too."""
    return (sink_of(name), *sorted(_read_by_calls(name) - _defaults(name).keys()))


def sink_of(name: str) -> str:
    """The setting that says where a feed writes to."""
    match name.split("."):
        case ["views"]:
            return "REDIS_URL"
        case ["tables"]:
            return "CLICKHOUSE_URL"
        case ["reactions", owner]:
            return f"{owner.upper()}_DATABASE_URL"
    raise UnknownFeed(name)


def choices(name: str) -> Mapping[str, str]:
    """The settings with a default that it may be given as well, each with that."""
    read = _read_by_calls(name)
    return {each: default for each, default in _defaults(name).items() if each in read}


def _read_by_calls(name: str) -> set[str]:
    return {
        setting
        for each in reacting([name])
        for call in each.calls
        for setting in (*call.settings, *call.secrets)
    }


def _defaults(name: str) -> Mapping[str, str]:
    return {setting: default for each in reacting([name]) for setting, default in each.settings.items()}
