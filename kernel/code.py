"""Which code this is: by it one tells what was tried, or built, by other code than what runs now."""

import ast
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: The packages that decide what becomes of an event.
_DECIDING = ("schemas", "kernel", "streams", "api")


@cache
def fingerprint() -> str:
    """Of all code that decides what becomes of an event, as it was when this process first asked."""
    return _digest(
        path for package in _DECIDING for path in (ROOT / package).rglob("*") if path.suffix in (".py", ".avsc")
    )


@cache
def fingerprint_of(module: str, extra: Path | None = None) -> str:
    """Of one of our modules, with those of ours that it imports, and the schemas beside them; and of one more file."""
    files = _imported(module)
    files |= {schema for path in files for schema in path.parent.glob("*.avsc")}
    return _digest(files | {extra} if extra else files)


def _imported(module: str) -> set[Path]:
    found: set[Path] = set()
    left = [module]
    while left:
        path = _path(left.pop())
        if path is None or path in found:
            continue
        found.add(path)
        left += _imports(path)
    return found


@cache
def _imports(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


def _path(module: str) -> Path | None:
    base = ROOT / module.replace(".", "/")
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _digest(paths: Iterable[Path]) -> str:
    digest = sha256()
    for path in sorted(paths):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]
