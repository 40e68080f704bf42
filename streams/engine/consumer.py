"""What a consumer is, and how the consumers of this system are found.

A view is a module in streams/views, a table one in streams/tables, a reaction is listed as REACTIONS in
api/<service>/reactions.py. Nothing else has to be told of a new one.
"""

import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from schemas.event import Event

Row = dict[str, Any]


def _aggregate_id(event: Event) -> str:
    return event.key


@dataclass(frozen=True)
class View:
    """A Redis read model: `fold(row, event)` gives the row of `key(event)` after the event; None is no row.

    `rank` names an integer field of the row by which readers may range. `expected(states)` gives the rows that one
    partition must hold when its aggregates' states in PostgreSQL are `states`.
    """

    name: str
    topic: str
    fold: Callable[[Row | None, Event], Row | None]
    expected: Callable[[Iterable[Row]], Iterator[tuple[str, Row]]]
    key: Callable[[Event], str] = _aggregate_id
    rank: str | None = None
    kind: str = "view"


@dataclass(frozen=True)
class Table:
    """A ClickHouse reporting table: `rows(event)` gives the rows of one event; `expected` as for a view.

    `state_query` is for ledgers, which are compared by what their rows add up to.
    """

    name: str
    topic: str
    rows: Callable[[Event], list[Row]]
    expected: Callable[[Iterable[Row]], Iterator[Row]]
    state_query: str | None = None
    kind: str = "table"


class NotYet(Exception):
    """Raised by a reaction that does not find what its events are about: it is tried again, and parked at last.

    PostgreSQL hands a transaction to the relay before others can see it. On a busy machine the event can be back,
    through Kafka and another service, in between.
    """


@dataclass(frozen=True)
class Reaction:
    """One service's answer to another's events.

    `handle(cursor, events)` runs inside the transaction that also moves the position. Its events are in order per
    aggregate, each once, without gaps. It raises NotYet when what they are about is not there.

    `effects` is a query of the service's schema for what the reaction has done, as keys and rows in JSON; with all
    aggregates' states in PostgreSQL being `states`, it has to give `expected(states)`.
    """

    name: str
    service: str
    topic: str
    handle: Callable[[Any, Sequence[Event]], None]
    expected: Callable[[Iterable[Row]], Iterator[tuple[str, Row]]]
    effects: str
    kind: str = "reaction"


Consumer = View | Table | Reaction


def consumer_id(consumer: Consumer) -> str:
    """The consumer's name among all consumers: its Kafka group, its agent, its line in `status`."""
    return f"{consumer.kind}.{consumer.name}"


def views() -> Mapping[str, View]:
    """Every view by name."""
    return {
        name: View(
            name,
            module.TOPIC,
            module.fold,
            module.expected,
            getattr(module, "key", _aggregate_id),
            getattr(module, "RANK", None),
        )
        for name, module in _modules("streams.views")
    }


def tables() -> Mapping[str, Table]:
    """Every table by name."""
    return {
        name: Table(name, module.TOPIC, module.rows, module.expected, getattr(module, "STATE_QUERY", None))
        for name, module in _modules("streams.tables")
    }


def reactions() -> Mapping[str, Reaction]:
    """Every reaction by name. Services are found by name, as Faust finds agents: streams imports none of them."""
    found: dict[str, Reaction] = {}
    for package in pkgutil.iter_modules(import_module("api").__path__, "api."):
        if package.ispkg and find_spec(f"{package.name}.reactions"):
            module = import_module(f"{package.name}.reactions")
            found.update((reaction.name, reaction) for reaction in module.REACTIONS)
    return found


def consumers() -> list[Consumer]:
    """Every view, table and reaction."""
    return [*views().values(), *tables().values(), *reactions().values()]


def _modules(package: str) -> Iterator[tuple[str, Any]]:
    for info in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
        if not info.ispkg:
            yield info.name.rpartition(".")[2], import_module(info.name)
