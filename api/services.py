"""All services, and all consumers that they bring along: found by api/<service>/service.py and by nothing else."""

import pkgutil
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec

import api
from api.manifest import Service
from streams.engine.consumer import Consumer, Reaction, Table, View, tables_in, views_in

MAX_SERVICES = 50


class BadManifest(Exception):
    """A service's declaration can't be, or two contradict each other."""


@cache
def services() -> tuple[Service, ...]:
    """Every service, by number. Raises BadManifest."""
    packages = [info.name for info in pkgutil.iter_modules(api.__path__, "api.") if info.ispkg]
    modules = [import_module(f"{name}.service") for name in packages if find_spec(f"{name}.service")]
    found = tuple(sorted((module.SERVICE for module in modules), key=lambda service: service.number))
    check(found)
    return found


def service(name: str) -> Service:
    """One service. Raises LookupError."""
    return next((each for each in services() if each.name == name), None) or _unknown(name)


@cache
def views() -> Mapping[str, View]:
    """Every view by name."""
    return {view.name: view for each in services() if each.views for view in views_in(each.views)}


@cache
def tables() -> Mapping[str, Table]:
    """Every table by name."""
    return {table.name: table for each in services() if each.tables for table in tables_in(each.tables)}


@cache
def reactions() -> Mapping[str, Reaction]:
    """Every reaction by name."""
    return {reaction.name: reaction for each in services() for reaction in each.reactions}


def consumers() -> list[Consumer]:
    """Every view, table and reaction."""
    return [*views().values(), *tables().values(), *reactions().values()]


def topics() -> list[str]:
    """Every topic, each owned by one service."""
    return sorted(topic for each in services() for topic in each.topics)


def check(found: Iterable[Service]) -> None:
    """Raises BadManifest when a number is out of range, or when two services claim the same."""
    for each in found:
        if not 1 <= each.number <= MAX_SERVICES:
            raise BadManifest(f"service {each.name} has the number {each.number}: give it one from 1 to {MAX_SERVICES}")
        if set(each.states) != set(each.topics):
            raise BadManifest(f"service {each.name} owns {each.topics} and has states of {tuple(each.states)}")
    for what in ("name", "number", "paths", "topics"):
        claims = [claim for each in found for claim in _claims(getattr(each, what))]
        for claim, count in Counter(claims).items():
            if count > 1:
                owners = [each.name for each in found if claim in _claims(getattr(each, what))]
                raise BadManifest(f"{' and '.join(owners)} both claim {claim!r} in their {what}: only one may")


def _claims(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


def _unknown(name: str) -> Service:
    raise LookupError(f"there is no service {name!r}: there are {', '.join(each.name for each in services())}")
