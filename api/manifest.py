"""What a service declares of itself, in api/<service>/service.py, and what it is given: all else follows."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol, TypeVar

from psycopg2.extensions import cursor as Cursor

from kernel.clock import Clock
from kernel.database import Database
from kernel.deadlines import Deadline
from kernel.metrics import Metric
from kernel.outbox import Outbox
from kernel.tasks import Call
from schemas.codec import Codec
from schemas.event import Topic
from streams.engine.consumer import Reaction
from streams.engine.reader import Views

_Store = TypeVar("_Store")


class App(Protocol):
    """A service's application, of WSGI or asyncio: it can say what it does."""

    @property
    def api_doc(self) -> dict[str, Any]:
        """Its routes in OpenAPI."""


@dataclass(frozen=True)
class Resources:
    """What a service's app is put together from. None of it connects to anything before the first request.

    `database_url` is None when the service has no database. `settings` has those that its manifest names, its
    secrets among them. `kafka` are the
    bootstrap servers, and `partitions` is how many every topic has, for those who read a topic themselves.
    """

    name: str
    topics: tuple[Topic, ...]
    database_url: str | None = field(repr=False)
    views: Views
    clock: Clock
    settings: Mapping[str, str] = field(repr=False)
    codec: Callable[[], Codec]
    kafka: str
    partitions: int

    def database(self, store: Callable[[Cursor, Outbox[Any]], _Store]) -> Database[_Store]:
        """The service's database. Raises LookupError when it has none."""
        if self.database_url is None:
            raise LookupError(f"{self.name} has no database: its manifest says so")
        outbox = Outbox[Any](self.name, self.topics, self.codec)
        return Database(self.database_url, self.name, lambda cursor: store(cursor, outbox), prepare=self.codec)


@dataclass(frozen=True)
class Gauge:
    """A figure of a service's own, which the observer reads: `query` gives one number, from the service's schema."""

    metric: Metric
    query: str


def gauge(name: str, meaning: str, query: str) -> Gauge:
    """A figure without labels; its name begins with `marea_`."""
    return Gauge(Metric(name, "gauge", "observer", (), meaning), query)


@dataclass(frozen=True)
class Service:
    """One service.

    `number` is fixed for ever, 1 to 50: ports follow from it. `paths` are the first parts of its paths below /v1,
    `streams` the paths below /v1 whose answers go on for as long as somebody listens: they may be below another service's path,
    and have parts in braces that vary.
    `topics` are those that it owns: nobody else publishes there. `states` gives, for each of them, the SQL for every
    aggregate's id and state, ordered by id, in the shape of its view row. `deadlines` are carried out by the workers that
    have its reactions, and its `calls` are made by these, too, which get the settings that they read. `gauges` are for those
    who watch. `settings` are the names of its own settings, without MAREA_, with their defaults; `secrets` the names of those
    that have none and are never shown. `views` and `tables` are packages with a module each. `create_app` gives the application; it imports
    what that needs, so that a worker need not. It is one of WSGI (api.web.app), or, if `is_asyncio`, of aiohttp (api.web.aio), for thousands who
    listen at once.
    A service of WSGI handles processes times threads requests at once; a quarter of the threads may wait for what a read
    has to see. Measured: one process costs two thirds of what four do, and carries no less on two cores.
    """

    name: str
    number: int
    summary: str
    create_app: Callable[[Resources], App]
    paths: tuple[str, ...]
    streams: tuple[str, ...] = ()
    topics: tuple[Topic, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    books: Mapping[str, str] = field(default_factory=dict)
    books_outside: Mapping[str, Callable[[Callable[[str], str]], Iterator[tuple[str, str]]]] = field(default_factory=dict)
    reactions: tuple[Reaction, ...] = ()
    deadlines: tuple[Deadline, ...] = ()
    calls: tuple[Call, ...] = ()
    gauges: tuple[Gauge, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    views: ModuleType | None = None
    tables: ModuleType | None = None
    has_database: bool = True
    is_asyncio: bool = False
    processes: int = 1
    threads: int = 32
