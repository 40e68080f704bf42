"""Which feeds there are: everything that reads Kafka for one sink. They follow from the services' manifests."""

import os
from collections.abc import Mapping, Sequence

from api.services import reactions, service, services, tables, views
from kernel import settings
from kernel.clock import SYSTEM
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
            found[f"{_OF_SERVICE}{each.name}"] = (list(each.reactions), _REACTIONS)
    return found


def open_store(name: str) -> Store:
    """The sink of a feed. A process needs the credentials of its own feeds only."""
    match name.split("."):
        case ["views"]:
            return RedisStore(connect_redis(settings.redis_url()), views().values())
        case ["tables"]:
            return ClickHouseStore(settings.clickhouse_url(), tables().values())
        case ["reactions", owner]:
            mine = [each for each in reactions().values() if each.service == owner]
            return PostgresStore(settings.database_url(owner), mine)
    raise UnknownFeed(name)


def timed(names: Sequence[str]) -> list[str]:
    """The services whose deadlines are carried out beside these feeds: those whose reactions are among them."""
    return [each.name for each in services() if each.deadlines and f"{_OF_SERVICE}{each.name}" in names]


def open_timer(name: str) -> Timer:
    """What carries out the deadlines of a service."""
    return Timer(settings.database_url(name), service(name).deadlines, SYSTEM)


def chosen() -> list[str]:
    """The feeds that this process runs: those that MAREA_FEEDS names, separated by commas, or all. Raises UnknownFeed."""
    names = [name for name in os.environ.get("MAREA_FEEDS", "").split(",") if name] or list(feeds())
    unknown = sorted({*names} - feeds().keys())
    if unknown:
        raise UnknownFeed(f"MAREA_FEEDS names {', '.join(unknown)}: there are {', '.join(feeds())}")
    return names


def needs(name: str) -> tuple[str, ...]:
    """The settings, without their prefix, that a feed needs beside those of every worker."""
    match name.split("."):
        case ["views"]:
            return ("REDIS_URL",)
        case ["tables"]:
            return ("CLICKHOUSE_URL",)
        case ["reactions", owner]:
            return (f"{owner.upper()}_DATABASE_URL",)
    raise UnknownFeed(name)
