"""The containers of our own processes: the local stack's programs and preparations, with other addresses.

What is not ours (PostgreSQL, Kafka, ...) is in template.yml under the name that it has in the local stack.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from api.services import services
from kernel.settings import OBJECTIVES
from local.layout import DEFAULT_PORT, Layout, Profile
from local.preparations import preparations
from local.programs import programs, simulators, workers
from local.programs.services import programs as service_programs
from local.programs.services import server_of
from streams.feeds import choices, feeds, needs

#: Where all that is ours serves, and says whether it is ready: each has an address of its own.
PORT = 8080
#: Where the others do, as is usual for each of them.
_PORTS = {
    "postgresql": 5432,
    "redis": 6379,
    "kafka": 9092,
    "kafka-controller": 9093,
    "connect": 8083,
    "registry": 8080,
    "clickhouse": 8123,
    "postgresql-exporter": 9187,
    "redis-exporter": 9121,
    "nginx-exporter": 9113,
}
#: What the local stack prepares, as commands of `python -m ops`; each is a container that does its work and ends.
_COMMANDS = {"migrations": "migrate", "topics": "topics", "starts": "starts", "schemas": "schemas", "relay": "relay"}
_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "topics": ("KAFKA", "PARTITIONS"),
    "starts": ("KAFKA", "PARTITIONS"),
    "schemas": ("REGISTRY_URL",),
    "migrations": ("ADMIN_DATABASE_URL", "DEBEZIUM_PASSWORD"),
    "relay": ("ADMIN_DATABASE_URL", "CONNECT_URL", "KAFKA"),
}
#: What the images bring along: the files that nginx serves, and what PostgreSQL does when it is new.
_IN_IMAGES = {"web": (), "server": ("postgresql",)}
#: The sinks: a worker waits for that of its own feed.
_SINKS = {"REDIS_URL": "redis", "CLICKHOUSE_URL": "clickhouse"}
_MIB_SERVICE, _MIB_WORKER, _MIB_OPS, _MIB_SIMULATOR, _MIB_DEMO = 384, 512, 384, 192, 1536
#: Where a simulated company keeps its database: a volume.
DATA = Path("/var/lib/marea")


class Containers(Layout):
    """The layout of the stack in containers. A password is the shell variable that holds it in secrets.sh."""

    def address(self, name: str) -> str:
        """host:port: a container's name is its host's."""
        return f"{name.removesuffix('-controller')}:{_PORTS.get(name, PORT)}"

    @cached_property
    def secrets(self) -> dict[str, str]:
        """The shell variables."""
        return {role: f"${{{role}}}" for role in self.roles}

    @property
    def profile(self) -> Profile:
        """All containers; which are started is for Compose to say."""
        return "full"


def layout() -> Containers:
    """Where everything is."""
    return Containers(DEFAULT_PORT)


#: What a container is, by which it has the most in common with others: the anchors of template.yml.
Kind = Literal["preparation", "service", "process", "simulator", "demo", "ops"]


@dataclass(frozen=True)
class Container:
    """One container of ours.

    `settings` are names without MAREA_: their values follow from the layout. `environment` is what it gets beside these.
    `after` names the containers that it waits for.
    """

    name: str
    kind: Kind
    command: tuple[str, ...]
    settings: tuple[str, ...]
    after: tuple[str, ...]
    memory_mib: int
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def once(self) -> bool:
        """Whether it ends when its work is done."""
        return self.kind == "preparation"

    @property
    def plain(self) -> dict[str, str]:
        """Its environment, but for what is secret."""
        told = {f"MAREA_{name}": value_of(name) for name in self.settings if not is_secret(name)}
        return told | dict(self.environment)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the files from which it reads the other settings."""
        return tuple(secret_of(name) for name in self.settings if is_secret(name))


def containers() -> tuple[Container, ...]:
    """All of ours that the stack consists of, in the order of the document."""
    at = layout()
    return (*_preparing(at), *_services(at), *_workers(at), *_keeping(at), *_simulators(at))


def tools() -> tuple[Container, ...]:
    """Those that are run by hand: they may do all, as `./marea` may on one machine."""
    every = tuple(name.removeprefix("MAREA_") for name in layout().environment if name != "MAREA_PORT")
    after = ("nginx", "keep")
    return (
        Container("demo", "demo", (), every, after, _MIB_DEMO),
        Container("ops", "ops", ("status",), every, after, _MIB_OPS),
    )


def value_of(setting: str) -> str:
    """A setting's value in containers; passwords in it are shell variables."""
    return layout().environment[f"MAREA_{setting}"]


def is_secret(setting: str) -> bool:
    """Whether there is a password in it."""
    return "${" in value_of(setting)


def secret_of(setting: str) -> str:
    """The name of the file that holds a setting."""
    return setting.lower()


def secrets() -> list[str]:
    """The settings that are secret."""
    return sorted(filter(is_secret, (name.removeprefix("MAREA_") for name in layout().environment)))


def databases() -> tuple[str, ...]:
    """The settings that say where the services' databases are."""
    return tuple(f"{each.name.upper()}_DATABASE_URL" for each in services() if each.has_database)


def _preparing(at: Containers) -> Iterator[Container]:
    for each in preparations(at):
        if each.name in _IN_IMAGES:
            continue
        needed = databases() if "ADMIN_DATABASE_URL" in _SETTINGS[each.name] or each.name in ("topics", "starts") else ()
        yield Container(
            name=each.name,
            kind="preparation",
            command=("python", "-m", "ops", _COMMANDS[each.name]),
            settings=(*_SETTINGS[each.name], *needed),
            after=_after(each.after),
            memory_mib=_MIB_OPS,
        )


def _services(at: Containers) -> Iterator[Container]:
    programs = {program.name: program for program in service_programs(at)}
    for each in services():
        program = programs[each.name]
        yield Container(
            name=each.name,
            kind="service",
            command=("python", "-m", *server_of(each, "0.0.0.0", PORT).command),  # noqa: S104  its own network
            settings=_settings({*program.environment} - {*_open(each.settings), "MAREA_SERVICE"}),
            environment={"MAREA_SERVICE": each.name, **_open(each.settings)},
            after=_after(program.after),
            memory_mib=_MIB_SERVICE,
        )


def _workers(at: Containers) -> Iterator[Container]:
    [program, *_] = workers.programs(at)
    sinks = {*_SINKS.values()}
    every = {f"MAREA_{setting}" for feed in feeds() for setting in (*needs(feed), *choices(feed))}
    for feed in feeds():
        own = {_SINKS[setting] for setting in needs(feed) if setting in _SINKS}
        yield Container(
            name=f"worker-{feed.replace('.', '-')}",
            kind="process",
            command=("python", *program.command[1:]),
            settings=_settings([*({*program.environment} - every), *(f"MAREA_{name}" for name in needs(feed))]),
            environment={"MAREA_FEEDS": feed, **_METRICS, **_open(OBJECTIVES), **_open(choices(feed))},
            after=tuple(name for name in _after(program.after) if name not in sinks - own),
            memory_mib=_MIB_WORKER,
        )


def _keeping(at: Containers) -> Iterator[Container]:
    """Whatever else runs `python -m ops` for as long as the stack does."""
    for program in programs(at):
        if program.command[1:3] == ("-m", "ops"):
            yield Container(
                name=program.name,
                kind="process",
                command=("python", *program.command[1:]),
                settings=_settings(program.environment),
                environment=_METRICS if program.name == "keep" else {**_METRICS, **_open(OBJECTIVES)},
                after=_after(program.after),
                memory_mib=_MIB_OPS,
            )


def _simulators(at: Containers) -> Iterator[Container]:
    for program in simulators.programs(at):
        yield Container(
            name=program.name,
            kind="simulator",
            command=("python", *simulators.command_of(at, program.name, "0.0.0.0", PORT, DATA)),  # noqa: S104  its own network
            settings=_settings(program.environment),
            after=_after(program.after),
            memory_mib=_MIB_SIMULATOR,
        )


#: Of those that are no services: where they say how they are.
_METRICS = {"MAREA_METRICS_ADDRESS": f"0.0.0.0:{PORT}"}


def _settings(variables: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(name.removeprefix("MAREA_") for name in {*variables} - {*_METRICS, *_open(OBJECTIVES)}))


def _open(defaults: Mapping[str, str]) -> dict[str, str]:
    """Settings that whoever starts the stack may choose, in his environment or in .env."""
    return {f"MAREA_{name}": f"${{MAREA_{name}:-{default}}}" for name, default in defaults.items()}


def _after(names: Iterable[str]) -> tuple[str, ...]:
    """What images bring along is not waited for, but those who bring it are."""
    return tuple(dict.fromkeys(each for name in names for each in _IN_IMAGES.get(name, (name,))))
