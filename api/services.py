"""All services, and all consumers that they bring along: found by api/<service>/service.py and by nothing else."""

import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec

import api
from api.manifest import Service
from kernel.metrics import METRICS, Metric
from streams.engine.consumer import Consumer, Reaction, Table, View, consumer_id, tables_in, views_in

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
    return {each.name: each for each in consumers() if isinstance(each, View)}


@cache
def tables() -> Mapping[str, Table]:
    """Every table by name."""
    return {each.name: each for each in consumers() if isinstance(each, Table)}


@cache
def reactions() -> Mapping[str, Reaction]:
    """Every reaction by name."""
    return {each.name: each for each in consumers() if isinstance(each, Reaction)}


@cache
def consumers() -> Sequence[Consumer]:
    """Every view, table and reaction."""
    return [consumer for each in services() for consumer in _consumers(each)]


def topics() -> list[str]:
    """Every topic, each owned by one service."""
    return sorted(str(topic) for each in services() for topic in each.topics)


def secrets() -> list[str]:
    """The settings that are secret, of every service and of what is called for it."""
    of_calls = {name for each in services() for call in each.calls for name in call.secrets}
    return sorted(of_calls.union(*(each.secrets for each in services())))


def metrics() -> tuple[Metric, ...]:
    """Every metric of ours: those of kernel/metrics.py, and the services' own."""
    return (*METRICS, *(gauge.metric for each in services() for gauge in each.gauges))


def check(found: Sequence[Service]) -> None:
    """Raises BadManifest when a service contradicts itself, or when two claim the same."""
    for each in found:
        for wrong in (*_contradictions(each), *_contradictions_of_work(each)):
            raise BadManifest(f"service {each.name} {wrong}")
    paths = {path for each in found for path in each.paths}
    for each in found:
        for stream in each.streams:
            if stream.partition("/")[0] not in paths:
                raise BadManifest(f"service {each.name} streams at {stream}, which is below nobody's path: give it one")
    for what, claims_of in _CLAIMS.items():
        owners: dict[object, str] = {}
        for each in found:
            for claim in claims_of(each):
                if claim in owners:
                    raise BadManifest(f"{owners[claim]} and {each.name} both claim the {what} {claim}: only one may")
                owners[claim] = each.name


def _contradictions(each: Service) -> Iterator[str]:
    if not 1 <= each.number <= MAX_SERVICES:
        yield f"has the number {each.number}: give it one from 1 to {MAX_SERVICES}"
    if set(each.states) != set(each.topics):
        yield f"owns the topics {sorted(each.topics)} and has states of {sorted(each.states)}: give it the same"
    if not each.has_database and (each.topics or each.reactions or each.gauges):
        yield "has no database: it can own no topics, and have no reactions and no gauges"


def _contradictions_of_work(each: Service) -> Iterator[str]:
    """Of what workers do for it."""
    for reaction in each.reactions:
        if reaction.service != each.name:
            yield f"has the reaction {reaction.name}, which says that it is of {reaction.service}"
    if each.deadlines and not each.reactions:
        yield "has deadlines and no reactions, whose workers carry them out"
    if len({deadline.name for deadline in each.deadlines}) < len(each.deadlines):
        yield "has two deadlines of one name"
    if each.calls and not each.reactions:
        yield "has calls and no reactions, whose workers make them"
    if len({call.kind for call in each.calls}) < len(each.calls):
        yield "has two calls of one kind"
    if twice := {*each.settings} & {*each.secrets}:
        yield f"has {sorted(twice)} among its settings and among its secrets"


def _consumers(each: Service) -> list[Consumer]:
    return [
        *(views_in(each.views) if each.views else ()),
        *(tables_in(each.tables) if each.tables else ()),
        *each.reactions,
    ]


#: What only one service can have.
_CLAIMS: Mapping[str, Callable[[Service], Iterable[object]]] = {
    "name": lambda each: (each.name,),
    "number": lambda each: (each.number,),
    "path": lambda each: each.paths,
    "stream": lambda each: each.streams,
    "topic": lambda each: each.topics,
    "metric": lambda each: (gauge.metric.name for gauge in each.gauges),
    "consumer": lambda each: map(consumer_id, _consumers(each)),
}


def _unknown(name: str) -> Service:
    raise LookupError(f"there is no service {name!r}: there are {', '.join(each.name for each in services())}")
