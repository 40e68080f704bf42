"""The stack in containers is the local stack, with other addresses: every part of that is here, and needs no more rights."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from api.services import services, topics
from local.compose.__main__ import DEPLOY
from local.compose.containers import containers, is_secret, layout, tools
from local.compose.document import document
from local.compose.files import files
from local.layout import ROOT, Layout
from local.preparations import preparations
from local.programs import programs
from local.programs.java import pinned_version
from streams.feeds import choices, feeds, needs

FOUND: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = FOUND["services"]
PROFILES = ("core", "full")
#: The local stack's preparations that images bring along.
IN_IMAGES = {"server", "web"}
STANDINS = ROOT / "tests" / "compose" / "standins"


def enabled(profile: str) -> dict[str, dict[str, Any]]:
    return {name: each for name, each in SERVICES.items() if profile in each["profiles"]}


def waits(each: Mapping[str, Any]) -> dict[str, str]:
    return {name: how["condition"] for name, how in each.get("depends_on", {}).items()}


def told(each: Mapping[str, Any]) -> set[str]:
    """The settings that a container gets, without MAREA_."""
    return {name.removeprefix("MAREA_").removesuffix("_FILE") for name in each.get("environment", {})}


def test_what_is_committed_is_what_follows_from_the_code() -> None:
    anew = "write it anew with: python -m local.compose"
    assert (ROOT / "docker-compose.yml").read_text() == document(), anew
    for name, text in files().items():
        assert (DEPLOY / name).read_text() == text, f"deploy/compose/{name}: {anew}"


def test_every_program_of_the_local_stack_is_a_container_and_a_worker_is_one_for_each_feed() -> None:
    local = {program.name for program in programs(layout())} - {f"worker-{number}" for number in range(1, 9)}
    workers = {f"worker-{feed.replace('.', '-')}" for feed in feeds()}
    prepared = {each.name for each in preparations(layout())} - IN_IMAGES
    assert {*SERVICES} == local | workers | prepared | {"grafana", "demo", "ops"}


@pytest.mark.parametrize("name", [each.name for each in services()])
def test_a_service_gets_the_settings_that_it_gets_on_one_machine(name: str) -> None:
    [program] = [program for program in programs(Layout(23_500)) if program.name == name]
    own = {setting for each in services() if each.name == name for setting in each.settings}
    assert told(SERVICES[name]) == {variable.removeprefix("MAREA_") for variable in program.environment} | own


@pytest.mark.parametrize("feed", feeds())
def test_a_worker_has_the_credentials_of_its_feed_only(feed: str) -> None:
    worker = SERVICES[f"worker-{feed.replace('.', '-')}"]
    assert worker["environment"]["MAREA_FEEDS"] == feed
    assert set(worker["secrets"]) == {setting.lower() for setting in needs(feed) if is_secret(setting)}
    assert told(worker) >= {*needs(feed), *choices(feed)}
    sinks = {"redis", "clickhouse"}
    own = {sink for sink in sinks if any(setting.startswith(sink.upper()) for setting in needs(feed))}
    assert {*waits(worker)} & sinks == own


@pytest.mark.parametrize("name", SERVICES)
def test_a_secret_is_a_file_and_never_in_the_environment(name: str) -> None:
    environment = SERVICES[name].get("environment", {})
    assert not any("://" in str(value) and "@" in str(value) for value in environment.values())
    mounted = set(SERVICES[name].get("secrets", ()))
    read = {str(path).rpartition("/")[2] for path in environment.values() if str(path).startswith("/run/secrets/")}
    assert read <= mounted <= set(FOUND["secrets"])


def test_one_line_makes_every_secret_and_keeps_those_that_are_there(tmp_path: Path) -> None:
    script = tmp_path / "secrets.sh"
    script.write_text(files()["secrets.sh"])
    made = []
    for _ in range(2):
        subprocess.run(["sh", script], check=True)
        kept = [path for path in (tmp_path / "secrets").iterdir() if path.is_file()]
        made.append({path.name: path.read_text() for path in kept})
    assert made[0] == made[1]
    assert set(made[0]) >= {Path(each["file"]).name for each in FOUND["secrets"].values()}
    passwords = {path.read_text() for path in (tmp_path / "secrets" / "roles").iterdir()}
    assert len(passwords) == len([*(tmp_path / "secrets" / "roles").iterdir()])
    assert all(len(password) == 32 for password in passwords)
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("profile", PROFILES)
def test_each_that_ends_is_waited_for_by_one_that_stays_in_every_profile(profile: str) -> None:
    """Else `up --wait` takes its end for a failure: docker/compose#10596."""
    there = enabled(profile)
    ending = {each.name for each in containers() if each.once}
    waited_for = {
        needed
        for name, each in there.items()
        if name not in ending
        for needed, how in waits(each).items()
        if how == "service_completed_successfully"
    }
    assert waited_for == ending & there.keys()


@pytest.mark.parametrize("profile", PROFILES)
def test_whoever_is_waited_for_is_there_and_can_say_that_it_is_ready(profile: str) -> None:
    there = enabled(profile)
    for name, each in there.items():
        for needed, how in waits(each).items():
            assert needed in there, f"{name} waits for {needed}, which is not in {profile}"
            if how == "service_healthy":
                assert "test" in there[needed]["healthcheck"], f"{name} waits for {needed}, which has no health check"


def test_whatever_a_program_comes_after_its_container_waits_for() -> None:
    for program in programs(layout()):
        if program.name in SERVICES and "worker" not in program.name:
            assert {*program.after} - IN_IMAGES <= {*waits(SERVICES[program.name])}, program.name


@pytest.mark.parametrize("name", SERVICES)
def test_each_is_bounded_pinned_and_gains_no_privileges(name: str) -> None:
    each = SERVICES[name]
    version = each["image"].rpartition(":")[2]
    assert any(letter.isdigit() for letter in version), f"{each['image']}: no floating tags"
    assert each["mem_limit"]
    assert each["security_opt"] == ["no-new-privileges:true"]
    assert each["logging"]["options"]["max-size"]
    if "build" in each:
        assert each["read_only"]
        assert each["cap_drop"] == ["ALL"]


def test_only_the_front_door_grafana_and_prometheus_are_published_and_on_loopback_only() -> None:
    published = {name: each["ports"] for name, each in SERVICES.items() if "ports" in each}
    assert published.keys() == {"nginx", "grafana", "prometheus"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_what_is_mounted_is_there() -> None:
    elsewhere = {"dashboards"}  # its own tests say that it is there
    for each in SERVICES.values():
        for volume in each.get("volumes", ()):
            source = volume["source"] if isinstance(volume, dict) else volume.partition(":")[0]
            if source.startswith("./") and source.split("/")[1] not in elsewhere:
                assert (ROOT / source).exists(), source


def test_images_have_the_versions_of_the_local_stack() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"FROM apache/kafka:{pinned_version('kafka')} AS kafka" in dockerfile
    assert SERVICES["registry"]["image"].endswith(f":{pinned_version('apicurio')}")


def test_every_image_that_is_not_ours_has_a_stand_in_for_the_check() -> None:
    stood_in = {each["image"] for each in yaml.safe_load((STANDINS / "compose.yml").read_text())["services"].values()}
    stages = [line.split()[1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("FROM ")]
    wanted = {each["image"] for each in SERVICES.values() if "build" not in each}
    wanted |= {stage for stage in stages if ":" in stage}
    assert stood_in == wanted


def modules(*folders: str) -> Iterator[str]:
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    yield from (alias.name.split(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    yield node.module.split(".")[0]


@pytest.mark.parametrize(
    ("folders", "lists"),
    [
        (("api", "connectors", "kernel", "ops", "schemas", "streams"), ("requirements-image.in",)),
        (("demo",), ("requirements-image.in", "demo/requirements.in")),
    ],
)
def test_an_image_has_every_package_that_its_code_imports(folders: tuple[str, ...], lists: tuple[str, ...]) -> None:
    listed = {line.split("[")[0].split(" ")[0] for name in lists for line in (ROOT / name).read_text().splitlines()}
    distributions = packages_distributions()
    ours = {*sys.stdlib_module_names, "api", "connectors", "demo", "kernel", "ops", "schemas", "streams"}
    #: Parts of what is listed.
    brought = {"pydantic_core": "pydantic", "werkzeug": "flask", "mode": "faust-streaming"}
    for module in {*modules(*folders)} - ours:
        names = {re.sub("[._]", "-", name.lower()) for name in distributions.get(brought.get(module, module), ())}
        assert names & listed or brought.get(module) in listed, f"{module} is not in {lists}"


def test_every_topic_is_made_by_the_containers_command() -> None:
    """`ops topics` makes all of the manifests' topics; nothing else in the file does, or names one."""
    assert SERVICES["topics"]["command"] == "python -m ops topics"
    text = document()
    assert not any(topic in text for topic in topics())


def test_the_tools_may_do_all_and_start_only_when_asked() -> None:
    assert {each.name for each in tools()} == {"demo", "ops"}
    for each in tools():
        assert SERVICES[each.name]["profiles"] == ["tools"]


def test_the_dockerfiles_pass_the_linter() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    for path in (ROOT / "Dockerfile", STANDINS / "Dockerfile"):
        said = subprocess.run([hadolint, "--no-color", path], check=False, capture_output=True, text=True)
        assert (said.returncode, said.stdout) == (0, ""), said.stdout + said.stderr


def test_the_file_is_of_the_compose_specification() -> None:
    package = find_spec("check_jsonschema")
    assert package
    assert package.origin
    schema = Path(package.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    validator = jsonschema_rs.validator_for(json.loads(schema.read_text()))
    for path in (ROOT / "docker-compose.yml", STANDINS / "compose.yml", ROOT / "tests" / "compose" / "override.yml"):
        assert [str(error) for error in validator.iter_errors(yaml.safe_load(path.read_text()))] == [], path
