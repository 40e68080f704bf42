"""What a program is made of, and what this machine must have for it."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from api.services import services
from local import layout as layouts
from local.layout import FIRST_PORT, LAST_PORT, PORTS, ROOT, BadPort, Layout
from local.program import Program, Unfit, at_least
from local.programs import nginx, postgresql, programs
from local.programs.java import properties
from local.sources import python_sources
from local.stack import Stack, check_folder


@pytest.fixture
def program(tmp_path: Path) -> Program:
    source = tmp_path / "module.py"
    source.write_text("A = 1")
    return Program(
        name="one",
        version="1.0",
        command=("one", "--fast"),
        check=lambda: None,
        environment={"MAREA_KAFKA": "a"},
        files={tmp_path / "one.conf": "port 1"},
        sources=lambda: [source],
    )


def test_the_same_program_has_the_same_fingerprint(program: Program) -> None:
    assert program.fingerprint() == replace(program).fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"command": ("one", "--slow")},
        {"environment": {"MAREA_KAFKA": "b"}},
        {"version": "1.1"},
        {"files": {Path("one.conf"): "port 2"}},
        {"sources": tuple},
    ],
)
def test_whatever_a_program_runs_from_changes_its_fingerprint(
    program: Program, change: dict[str, object]
) -> None:
    changed = replace(program, **change)  # type: ignore[arg-type]
    assert changed.fingerprint() != program.fingerprint()


def test_changed_code_changes_the_fingerprint(program: Program) -> None:
    before = program.fingerprint()
    program.sources()[0].write_text("A = 2")
    assert program.fingerprint() != before


def test_files_and_data_are_made_before_a_start(program: Program, tmp_path: Path) -> None:
    program.make_ready()
    assert (tmp_path / "one.conf").read_text() == "port 1"
    assert (tmp_path / "one.conf").stat().st_mode & 0o077 == 0


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    files = {
        "requirements.txt": "",
        "api/__init__.py": "",
        "api/web.py": "import json",
        "api/orders/__init__.py": "",
        "api/orders/service.py": "from api.orders import store\ndef create():\n    from api.orders import routes",
        "api/orders/store.py": "from views import orders",
        "api/orders/routes.py": "import api.web",
        "api/orders/page.html": "",
        "views/__init__.py": "",
        "views/orders/__init__.py": "",
        "views/orders/order.py": "",
        "views/stock/__init__.py": "",
        "schemas/__init__.py": "",
        "schemas/codec.py": "",
        "schemas/order/placed.avsc": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def sources(tree: Path, *modules: str) -> set[str]:
    return {str(path.relative_to(tree)) for path in python_sources(*modules, root=tree)}


def test_a_program_is_made_of_what_it_imports_and_of_the_pins(tree: Path) -> None:
    assert sources(tree, "api.web") == {"api/__init__.py", "api/web.py", "requirements.txt"}


def test_a_package_that_is_imported_brings_its_modules_and_the_files_beside_them(tree: Path) -> None:
    found = sources(tree, "api.orders.store")
    assert {"views/orders/order.py", "api/orders/page.html"} <= found
    assert not {name for name in found if name.startswith("views/stock")}


def test_what_a_manifest_imports_inside_its_functions_is_its_own_programs_only(tree: Path) -> None:
    assert "api/orders/routes.py" not in sources(tree, "api.orders.service")
    assert "api/orders/routes.py" in sources(tree, "api.orders")


def test_data_in_folders_that_are_no_packages_belongs_to_the_package_above(tree: Path) -> None:
    assert "schemas/order/placed.avsc" in sources(tree, "schemas.codec")


def test_a_module_that_does_not_exist_is_said(tree: Path) -> None:
    with pytest.raises(LookupError, match=r"there is no module api\.nothing"):
        sources(tree, "api.nothing")


def made_of(name: str) -> set[str]:
    found = next(program for program in programs(Layout(17000)) if program.name == name)
    return {str(path.relative_to(ROOT)) for path in found.sources()}


def test_a_route_is_its_own_services_only() -> None:
    assert "api/orders/routes.py" in made_of("orders")
    assert "api/orders/routes.py" not in made_of("catalog") | made_of("worker-1") | made_of("clickhouse")


def test_workers_are_made_of_every_view_table_and_reaction_and_of_the_tables_columns() -> None:
    folders = ("streams/views", "streams/tables", "sql/clickhouse")
    files = {
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in (".py", ".sql", ".avsc")
    }
    assert {str(path.relative_to(ROOT)) for path in files} <= made_of("worker-1")


@pytest.mark.parametrize("name", ["catalog", "worker-1"])
def test_whatever_reads_events_is_made_of_every_schema(name: str) -> None:
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "schemas").rglob("*.avsc")} <= made_of(name)


@pytest.mark.parametrize("version", ["6.0.16", "5.0", "6.1.9-rc1"])
def test_a_program_that_is_too_old_is_said_in_one_line(version: str) -> None:
    with pytest.raises(
        Unfit, match=rf"^Redis {version} is too old: 6.2 or newer is needed, for .*\. Install .*$"
    ):
        at_least("Redis", version, (6, 2), "for ZRANGE BYSCORE")


@pytest.mark.parametrize("version", ["6.2", "6.2.0", "7.0.15", "10.1"])
def test_a_program_that_is_new_enough_is_taken(version: str) -> None:
    at_least("Redis", version, (6, 2), "for ZRANGE BYSCORE")


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Of a stack that keeps nothing yet."""
    monkeypatch.setattr(layouts, "STATE", tmp_path)
    return Layout(17000)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose programs are found before all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def says(program: Path, text: str) -> None:
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\necho '{text}' | tee /dev/stderr\n")
    program.chmod(0o755)


def refused(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> str:
    """Why `up` starts nothing."""
    stack = Stack(layout)
    monkeypatch.setattr(stack, "supervisor", None)  # whoever asks it is too late
    with pytest.raises(Unfit) as error:
        stack.up()
    return str(error.value)


def test_nothing_is_started_beside_a_redis_that_is_too_old(
    layout: Layout, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(installed / "redis-server", "Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64")
    assert refused(layout, monkeypatch).startswith("Redis 6.0.16 is too old: 6.2 or newer is needed")


@pytest.fixture
def postgresqls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes these major versions the only ones that are installed."""

    def install(*versions: int) -> None:
        folders = {version: tmp_path / "postgresql" / str(version) for version in versions}
        for version, folder in folders.items():
            says(folder / "postgres", f"postgres (PostgreSQL) {version}.3")
        monkeypatch.setattr(postgresql, "_installed", lambda: folders)

    return install


def made_by(version: int, layout: Layout) -> None:
    """There is data that this major version of PostgreSQL has made."""
    data = layout.data("postgresql")
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text(f"{version}\n")


def test_nothing_is_started_beside_a_postgresql_that_is_too_old(
    layout: Layout, postgresqls: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    postgresqls(12)
    assert refused(layout, monkeypatch).startswith("PostgreSQL 12 is too old: 13 or newer is needed")


def test_data_is_opened_by_the_major_version_that_made_it_though_a_newer_one_is_installed(
    layout: Layout, postgresqls: Callable[..., None], tmp_path: Path
) -> None:
    postgresqls(15, 17)
    assert postgresql.program(layout).command[0] == f"{tmp_path}/postgresql/17/postgres"
    made_by(15, layout)
    program = postgresql.program(layout)
    assert (program.command[0], program.version) == (f"{tmp_path}/postgresql/15/postgres", "15.3")
    program.examine()


def test_nothing_is_started_over_data_of_a_major_version_that_is_not_installed_any_more(
    layout: Layout, postgresqls: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    postgresqls(17)
    made_by(15, layout)
    assert re.fullmatch(
        r"the data in .* PostgreSQL 15, .* \(installed: 17\): install postgresql-15, or .*",
        refused(layout, monkeypatch),
    )


@pytest.mark.parametrize(
    ("version", "options"), [("1.18.0", ()), ("1.19.5", ("-e", "stderr")), ("1.22.1", ("-e", "stderr"))]
)
def test_an_old_nginx_is_not_given_an_option_that_it_lacks(
    layout: Layout, installed: Path, version: str, options: tuple[str, ...]
) -> None:
    says(installed / "nginx", f"nginx version: nginx/{version} (Ubuntu)")
    settings = ("-p", str(layout.run), "-c", str(layout.run / "nginx.conf"))
    assert nginx.program(layout).command == ("nginx", *options, *settings)


@pytest.mark.parametrize("port", [0, 80, FIRST_PORT - 1, LAST_PORT + 1, 65_530, 70_000])
def test_a_base_port_without_room_for_a_stack_is_refused(port: int) -> None:
    with pytest.raises(
        BadPort, match=f"^the base port is {port}: choose one from 1024 to 65436 with --port or MAREA_PORT"
    ):
        Layout(port)


def test_every_port_of_a_stack_is_one() -> None:
    assert Layout(LAST_PORT).port + PORTS - 1 == 65_535


@pytest.mark.parametrize("name", ['a"b', "it's", "a,b", "a:b", "a$b", "a;b", "a*b"])
def test_a_folder_whose_name_breaks_configurations_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(Unfit, match=r"^the checkout is in .*: move it elsewhere$"):
        check_folder(Path("/home") / name)


def test_other_names_are_taken() -> None:
    check_folder(Path("/home/jos\u00e9/my shop (2)/50%"))


def test_a_new_services_password_appears_by_itself_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layouts, "STATE", tmp_path)
    monkeypatch.setattr(layouts, "databases", lambda: ("orders",))
    before = Layout(17000).secrets
    monkeypatch.setattr(layouts, "databases", lambda: ("orders", "returns"))
    after = Layout(17000).secrets
    assert after.keys() - before.keys() == {"returns"}
    assert before.items() <= after.items()


def test_the_number_of_workers_is_kept_until_it_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layouts, "STATE", tmp_path)
    stack = Stack(Layout(17000))
    assert [name for name in stack.programs if name.startswith("worker")] == ["worker-1"]
    stack.use_workers(3)
    assert [name for name in stack.programs if name.startswith("worker")] == [
        "worker-1",
        "worker-2",
        "worker-3",
    ]
    assert Layout(17000).workers == 3


def test_properties_files_are_ascii_as_java_reads_them() -> None:
    assert (
        properties("log.dirs=/tmp/josé/\N{SMILING FACE WITH SMILING EYES}")
        == r"log.dirs=/tmp/jos\u00e9/\ud83d\ude0a"
    )


def test_a_service_of_asyncio_serves_by_itself_and_every_other_one_under_granian() -> None:
    by_name = {each.name: each for each in services()}
    modules = {each.name: each.command[each.command.index("-m") + 1] for each in programs(Layout(17000)) if each.name in by_name}
    assert modules == {name: "api.aio" if each.is_asyncio else "granian" for name, each in by_name.items()}
    assert {each.is_asyncio for each in by_name.values()} == {True, False}
    for name in (name for name, each in by_name.items() if each.is_asyncio):
        assert "api/aio.py" in made_of(name)
