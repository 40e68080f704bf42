"""What a service declares of itself, in api/<service>/service.py: all else follows from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType

from flask_openapi3.openapi import OpenAPI

from streams.engine.consumer import Reaction


@dataclass(frozen=True)
class Service:
    """One service.

    `number` is fixed for ever, 1 to 50: ports follow from it. `paths` are the first parts of its paths below /v1.
    `topics` are those that it owns: nobody else publishes there. `states` gives, for each of them, the SQL for every
    aggregate's id and state, ordered by id, in the shape of its view row. `views` and `tables` are packages with a
    module each. `create_app` gives the WSGI application; it imports what that needs, so that a worker need not.
    A service handles processes times threads requests at once.
    """

    name: str
    number: int
    summary: str
    create_app: Callable[[], OpenAPI]
    paths: tuple[str, ...]
    topics: tuple[str, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    reactions: tuple[Reaction, ...] = ()
    views: ModuleType | None = None
    tables: ModuleType | None = None
    has_database: bool = True
    processes: int = 1
    threads: int = 16
