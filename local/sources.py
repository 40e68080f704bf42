"""The files that a program is made of: a Python program's are found by following imports from its first modules."""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from local.layout import ROOT

REQUIREMENTS = ROOT / "requirements.txt"
#: Modules that read files of another folder, and which. What is beside a module is found by itself.
_ELSEWHERE = {
    "schemas.codec": "schemas/*/*.avsc",
    "streams.engine.stores.clickhouse": "sql/clickhouse/*/*.sql",
}


def python_sources(*modules: str, root: Path = ROOT) -> tuple[Path, ...]:
    """These modules and all that they import, with the files beside them that are no modules, and the packages' pins.

    A package that is imported for itself brings all of its modules: it is looked through by name.
    Raises LookupError when one of the modules given does not exist.
    """
    found: dict[str, Path] = {}
    open_ends = [name for module in modules for name in _with_members(module, root)]
    while open_ends:
        name = open_ends.pop()
        path = _path(name, root)
        if name in found or path is None:
            continue
        found[name] = path
        open_ends += _needs(name, path, root)
    if missing := set(modules) - found.keys():
        raise LookupError(f"there is no module {', '.join(sorted(missing))}")
    data = {file for path in found.values() for file in _beside(path.parent)}
    elsewhere = {file for name in _ELSEWHERE.keys() & found.keys() for file in root.glob(_ELSEWHERE[name])}
    return (*sorted({*found.values(), *data, *elsewhere}), root / REQUIREMENTS.name)


def digest(paths: Iterable[Path], *texts: str) -> str:
    """Of these files' names and content, and of some texts."""
    found = hashlib.sha256()
    for part in (*(text.encode() for text in texts), *(part for path in paths for part in _parts(path))):
        found.update(len(part).to_bytes(8) + part)  # "ab", "c" is not "a", "bc"
    return found.hexdigest()


def _parts(path: Path) -> tuple[bytes, bytes]:
    return str(path).encode(), path.read_bytes()


@cache
def _needs(name: str, path: Path, root: Path) -> tuple[str, ...]:
    """What a module needs before it can be imported: the packages around it, and what it imports itself."""
    parts = name.split(".")
    around = [".".join(parts[:length]) for length in range(1, len(parts))]
    return (*around, *_imported(path, root))


def _imported(path: Path, root: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    # A manifest imports inside its functions what its own service needs, and other programs do not.
    nodes = iter(tree.body) if path.name == "service.py" else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_members(alias.name, root)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            for alias in node.names:
                yield from _with_members(f"{node.module}.{alias.name}", root)


def _with_members(name: str, root: Path) -> Iterator[str]:
    yield name
    folder = root.joinpath(*name.split("."))
    if (folder / "__init__.py").exists():
        yield from (f"{name}.{module.stem}" for module in folder.glob("*.py") if module.stem != "__init__")


@cache
def _path(name: str, root: Path) -> Path | None:
    """None for what is not ours, and for names that are no modules."""
    stem = root.joinpath(*name.split("."))
    candidates = (stem / "__init__.py", stem.with_name(f"{stem.name}.py"))
    return next((path for path in candidates if path.exists()), None)


@cache
def _beside(package: Path) -> tuple[Path, ...]:
    """A package's files that are no modules, those in folders of it that are no packages included."""
    found = [path for path in _visible(package) if path.is_file() and path.suffix != ".py"]
    for folder in _visible(package):
        if folder.is_dir() and folder.name != "__pycache__" and not any(folder.rglob("*.py")):
            found += _files(folder)
    return tuple(found)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("."))
