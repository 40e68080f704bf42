"""docker-compose.yml: template.yml, with the containers of our own processes filled in."""

import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from string import Template

from api.services import services
from local.compose.containers import DATA, Container, containers, secret_of, secrets, tools
from local.layout import ROOT
from local.programs.java import pinned_version

_TEMPLATE = Path(__file__).with_name("template.yml")
#: Secrets that are no settings of ours: settings of the others, and passwords that they read as they are.
OTHERS = (
    *("admin_password", "clickhouse_password", "exporter_password", "grafana_password", "redis.conf"),
    *("redis_exporter.json", "registry_password", "registry.properties"),
)
#: What the template has a place for, each.
_KINDS = ("preparation", "service", "process", "simulator")
#: Those of our own containers that only look on.
_ONLOOKERS = {"observer"}


class _Text(Template):
    """What Compose itself fills in begins with $, what we do with @."""

    delimiter = "@"


def document() -> str:
    """The text of docker-compose.yml."""
    ours, by_hand = containers(), tools()
    ending = {each.name for each in ours if each.once}

    def written(found: Iterable[Container]) -> str:
        return "\n".join(_container(each, ending) for each in found)

    return _Text(_TEMPLATE.read_text()).substitute(
        {kind: written(each for each in ours if each.kind == kind) for kind in _KINDS},
        tools=written(by_hand),
        version=_version(),
        kafka=pinned_version("kafka"),
        apicurio=pinned_version("apicurio"),
        behind="".join(f"      {each.name}: {{condition: service_healthy}}\n" for each in services()).rstrip(),
        secrets="\n".join(_secret(name) for name in (*map(secret_of, secrets()), *OTHERS)),
    )


def _version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    version: str = project["project"]["version"]
    return version


def _container(each: Container, ending: Collection[str]) -> str:
    lines = [
        f"  {each.name}:",
        f"    <<: *{each.kind}",
        *(["    profiles: [full]"] if each.name in _ONLOOKERS else []),
        *([f"    command: {' '.join(each.command)}"] if each.command else []),
        *_mapping("environment", each.plain | {f"MAREA_{name}_FILE": path for name, path in _files(each).items()}),
        *_listing("secrets", each.secrets),
        *([f"    volumes: ['{each.name}:{DATA}']"] if each.kind == "simulator" else []),
        *_waiting(each.after, ending),
        f"    mem_limit: {each.memory_mib}m",
    ]
    return "\n".join(lines) + "\n"


def _files(each: Container) -> Mapping[str, str]:
    return {name.upper(): f"/run/secrets/{name}" for name in each.secrets}


def _waiting(after: Iterable[str], ending: Collection[str]) -> list[str]:
    conditions = {name: "service_completed_successfully" if name in ending else "service_healthy" for name in after}
    lines = [f"      {name}: {{condition: {said}}}" for name, said in conditions.items()]
    return ["    depends_on:", *lines] if lines else []


def _mapping(name: str, values: Mapping[str, str]) -> list[str]:
    return [f"    {name}:", *(f"      {key}: {_word(value)}" for key, value in values.items())] if values else []


def _listing(name: str, values: Iterable[str]) -> list[str]:
    return [f"    {name}: [{', '.join(values)}]"] if values else []


def _word(value: str) -> str:
    """In YAML: in quotes where it would be a number, or mean something."""
    return f'"{value}"' if value.isdigit() or value.startswith("$") else value


def _secret(name: str) -> str:
    return f"  {name}:\n    file: deploy/compose/secrets/{name}"
