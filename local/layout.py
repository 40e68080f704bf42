"""Where a stack is: its ports, folders, passwords, and the environment that its processes get."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

from api.services import secrets, service, services

ROOT = Path(__file__).parents[1]
STATE = ROOT / ".marea"
HOST = "127.0.0.1"
DEFAULT_PORT = 17000
PARTITIONS = 4
#: On two cores two workers carry less than one: more loops share the same time.
DEFAULT_WORKERS = 1

#: The one database of the local stack. A schema a service; any of them could be a database of its own.
DATABASE = "marea"

#: Ports of one stack, from its base port on: services have 1 to 50, by their numbers, other programs 51 to 90.
PORTS = 100
FIRST_PORT, LAST_PORT = 1_024, 65_536 - PORTS
_OFFSETS = {
    "nginx": 0,
    "postgresql": 51,
    "redis": 52,
    "kafka": 53,
    "kafka-controller": 54,
    "connect": 55,
    "registry": 56,
    "registry-management": 57,
    "clickhouse": 58,
    "prometheus": 59,
    "alertmanager": 60,
    "postgresql-exporter": 61,
    "redis-exporter": 62,
    "nginx-exporter": 63,
    "nginx-status": 64,
    "kafka-exporter": 65,
    "connect-exporter": 66,
    "observer": 67,
    "keep": 68,
    **{f"worker-{number}": 69 + number for number in range(1, PARTITIONS + 1)},
    "provider": 80,
    "carrier": 81,
    "supervisor": 90,
}
_SECRETS = ("admin", "debezium", "registry", "redis", "clickhouse", "supervisor", "exporter")

#: What a stack consists of: what carries orders; or all, with those who watch it.
Profile = Literal["core", "full"]


class BadPort(ValueError):
    """No stack can have this base port."""


def chosen(names: Iterable[str]) -> dict[str, str]:
    """Those of these settings that somebody has chosen in the environment; the others have defaults."""
    variables = [f"MAREA_{name}" for name in names]
    return {variable: os.environ[variable] for variable in variables if variable in os.environ}


def databases() -> tuple[str, ...]:
    """The names of the services that have a database."""
    return tuple(each.name for each in services() if each.has_database)


@dataclass(frozen=True)
class Layout:
    """One stack, identified by its base port. Several can run side by side."""

    port: int

    def __post_init__(self) -> None:
        """Raises BadPort."""
        if not FIRST_PORT <= self.port <= LAST_PORT:
            raise BadPort(
                f"the base port is {self.port}: choose one from {FIRST_PORT} to {LAST_PORT} with --port or MAREA_PORT;"
                f" the stack uses {PORTS} ports from there on"
            )

    @property
    def folder(self) -> Path:
        """Everything that the stack keeps."""
        return STATE / "stacks" / str(self.port)

    @property
    def run(self) -> Path:
        """Generated configuration; written anew by every `up`."""
        return self.folder / "run"

    @property
    def folders(self) -> tuple[Path, ...]:
        """What the stack keeps, beside its passwords and settings."""
        return (self.run, self.folder / "data", self.folder / "logs")

    @property
    def front(self) -> Path:
        """What nginx's workers read and write. Root's are another user's, who need not see our folders."""
        if os.geteuid() != 0:
            return self.run / "front"
        return Path("/run") / f"marea-{self.port}-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"

    @property
    def web(self) -> Path:
        """The files that nginx serves: the OpenAPI document of all services, and the page to try it."""
        return self.front / "web"

    @property
    def settings_file(self) -> Path:
        """What was chosen for this stack, and holds until something else is chosen."""
        return self.folder / "settings.json"

    @property
    def workers(self) -> int:
        """How many Faust workers there are."""
        return int(self._settings.get("workers", DEFAULT_WORKERS))

    @property
    def profile(self) -> Profile:
        """Whether there are those who watch, too."""
        profile: Profile = self._settings.get("profile", "core")
        return profile

    @property
    def alerts_after_s(self) -> int | None:
        """For how long something has to last before there is an alert; None when the rules say so."""
        return self._settings.get("alerts_after_s")

    @property
    def _settings(self) -> dict[str, Any]:
        kept: dict[str, Any] = (
            json.loads(self.settings_file.read_text()) if self.settings_file.exists() else {}
        )
        return kept

    def keep_setting(self, name: str, value: int | str | None) -> None:
        """Keeps a choice."""
        self.make_folders()
        self.settings_file.write_text(json.dumps(self._settings | {name: value}) + "\n")

    def data(self, name: str) -> Path:
        """The data of one program."""
        return self.folder / "data" / name

    def log(self, name: str) -> Path:
        """The log of one program."""
        return self.folder / "logs" / f"{name}.log"

    def make_folders(self) -> None:
        """Makes the stack's folders; only their owner can read them."""
        for folder in (self.folder, *self.folders):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def port_of(self, name: str) -> int:
        """The port of a program or service."""
        if name in _OFFSETS:
            return self.port + _OFFSETS[name]
        return self.port + service(name).number

    def address(self, name: str) -> str:
        """host:port of a program or service."""
        return f"{HOST}:{self.port_of(name)}"

    @property
    def roles(self) -> tuple[str, ...]:
        """Whoever has a password, and the secrets of services and of those whom they call."""
        return (*_SECRETS, *databases(), *(name.lower() for name in secrets()))

    @cached_property
    def secrets(self) -> dict[str, str]:
        """Passwords by role; made when first needed, and kept as long as the stack's data."""
        path = self.folder / "secrets.json"
        kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        missing = {*self.roles} - kept.keys()
        if missing:
            kept |= {name: token_hex(16) for name in sorted(missing)}
            self.make_folders()
            path.touch(mode=0o600)
            path.write_text(json.dumps(kept, indent=2) + "\n")
        return kept

    def database_url(self, role: str, database: str = DATABASE) -> str:
        """PostgreSQL as a role: a service's name, `admin`, `debezium` or `registry`."""
        return f"postgresql://{role}:{self.secrets[role]}@{self.address('postgresql')}/{database}"

    @cached_property
    def environment(self) -> dict[str, str]:
        """All settings, as `ops` itself needs them."""
        password = self.secrets
        return {
            "MAREA_PORT": str(self.port),
            "MAREA_PARTITIONS": str(PARTITIONS),
            "MAREA_KAFKA": self.address("kafka"),
            "MAREA_REGISTRY_URL": f"http://{self.address('registry')}/apis/ccompat/v7",
            "MAREA_REDIS_URL": f"redis://:{password['redis']}@{self.address('redis')}/0",
            "MAREA_CLICKHOUSE_URL": f"http://marea:{password['clickhouse']}@{self.address('clickhouse')}/marea",
            "MAREA_API_URL": f"http://{self.address('nginx')}",
            "MAREA_PROMETHEUS_URL": f"http://{self.address('prometheus')}",
            "MAREA_CONNECT_URL": f"http://{self.address('connect')}",
            "MAREA_ADMIN_DATABASE_URL": self.database_url("admin"),
            "MAREA_DEBEZIUM_PASSWORD": password["debezium"],
            **{f"MAREA_{name}": password[name.lower()] for name in secrets()},
            "MAREA_PROVIDER_URL": f"http://{self.address('provider')}",
            "MAREA_CARRIER_URL": f"http://{self.address('carrier')}",
            **{f"MAREA_{name.upper()}_DATABASE_URL": self.database_url(name) for name in databases()},
        }

    def environment_for(self, *names: str) -> dict[str, str]:
        """Just these settings, each without its prefix MAREA_: a process gets only what it needs."""
        return {f"MAREA_{name}": self.environment[f"MAREA_{name}"] for name in names}
