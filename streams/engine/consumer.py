"""What a consumer is: a view, a table or a reaction. Which there are is what the services' manifests say."""

import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any, Generic, Literal

from typing_extensions import TypeVar

from schemas.event import Event, Topic

Row = dict[str, Any]
E = TypeVar("E", default=Any)

#: A part of a sort key: a text without NUL, or a whole number that is not negative.
Part = str | int
SortKey = tuple[Part, ...]
#: Gives the sort keys under which a row is found; a module's own function, because a rebuild hands it to processes.
Index = Callable[[Row], Iterable[SortKey]]


def _aggregate_id(event: Event) -> str:
    return event.key


@dataclass(frozen=True)
class View:
    """A Redis read model: `fold(row, event)` gives the row of `key(event)` after the event; None is no row.

    `expected(states)` gives the rows that one partition must hold when its aggregates' states in PostgreSQL are
    `states`. `indexes` say by name where else rows are found, in order: pure functions, see streams/engine/indexes.py.
    """

    name: str
    topic: Topic
    fold: Callable[[Row | None, Event], Row | None]
    expected: Callable[[Iterable[Row]], Iterator[tuple[str, Row]]]
    key: Callable[[Event], str] = _aggregate_id
    indexes: Mapping[str, Index] = field(default_factory=dict, hash=False)
    module: str = ""
    kind: str = "view"


@dataclass(frozen=True)
class Table:
    """A ClickHouse reporting table: `rows(event)` gives the rows of one event; `expected` as for a view.

    `state_query` is for ledgers, which are compared by what their rows add up to. `columns` is the file, seen from
    the repository's root, with the statement that makes one generation.
    """

    name: str
    topic: Topic
    rows: Callable[[Event], list[Row]]
    expected: Callable[[Iterable[Row]], Iterator[Row]]
    columns: str
    state_query: str | None = None
    module: str = ""
    kind: str = "table"


class NotYet(Exception):
    """Raised by a reaction that does not find what its events are about: it is tried again, and parked at last.

    PostgreSQL hands a transaction to the relay before others can see it. On a busy machine the event can be back,
    through Kafka and another service, in between.
    """


@dataclass(frozen=True)
class Reaction(Generic[E]):
    """One service's answer to another's events.

    `handle(cursor, events)` runs inside the transaction that also moves the position. Its events are in order per
    aggregate, each once, without gaps, and of these `types` only. It raises NotYet when what they are about is not
    there.

    `effects` is a query of the service's schema for what the reaction has done, as keys and rows in JSON; with all
    aggregates' states in PostgreSQL being `states`, it has to give `expected(states)`.

    One that starts `now` handles no event from before `python -m ops starts` first knew it: for whatever leaves the house. An
    aggregate that is older begins with the first event after that. `expected` has the states of all aggregates, so it must ask
    for nothing of one that the reaction may never have heard of.
    """

    name: str
    service: str
    topic: Topic[E]
    types: frozenset[str]
    handle: Callable[[Any, Sequence[E]], None]
    expected: Callable[[Iterable[Row]], Iterator[tuple[str, Row]]]
    effects: str
    start: Literal["beginning", "now"] = "beginning"
    kind: str = "reaction"


Consumer = View | Table | Reaction


def consumer_id(consumer: Consumer) -> str:
    """The consumer's name among all consumers: its Kafka group, its agent, its line in `status`."""
    return f"{consumer.kind}.{consumer.name}"


def views_in(package: ModuleType) -> Iterator[View]:
    """The views of a package: one a module."""
    for name, module in _modules(package):
        key, indexes = getattr(module, "key", _aggregate_id), getattr(module, "INDEXES", {})
        yield View(name, module.TOPIC, module.fold, module.expected, key, indexes, module.__name__)


def tables_in(package: ModuleType) -> Iterator[Table]:
    """The tables of a package: one a module."""
    for name, module in _modules(package):
        state_query = getattr(module, "STATE_QUERY", None)
        service = package.__name__.rpartition(".")[2]
        columns = f"sql/clickhouse/{service}/{name}.sql"
        yield Table(name, module.TOPIC, module.rows, module.expected, columns, state_query, module.__name__)


def _modules(package: ModuleType) -> Iterator[tuple[str, Any]]:
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        yield info.name.rpartition(".")[2], import_module(info.name)
