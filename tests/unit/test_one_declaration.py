"""A service is declared in its manifest, and named nowhere else but in what belongs to it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.services import services

ROOT = Path(__file__).parents[2]
NAMES = {each.name for each in services()}
WORD = re.compile("[a-z]+")
#: As in SQL.
TABLE = re.compile(rf"\b({'|'.join(NAMES)})\.[a-z]")

#: Rooms that serve all services alike. (bench/ measures certain ones.)
GENERAL = ("kernel", "schemas", "streams", "api", "connectors", "ops", "local")
#: Rooms that work with the shop as its customers do: an order is a word there, and no service's name.
CUSTOMERS = ("demo", "cli", "chaos")
#: What else serves all services alike.
SETTINGS = ("marea", "pyproject.toml", "connectors/*.*", "sql/*/engine/*.sql")


def belongs_to_a_service(path: Path) -> bool:
    """As api/orders and streams/views/orders do."""
    return bool(NAMES & {*path.relative_to(ROOT).parent.parts})


def sources(rooms: tuple[str, ...]) -> list[Path]:
    found = [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]
    return [path for path in found if not belongs_to_a_service(path)]


def docstrings(tree: ast.AST) -> set[int]:
    """The ids of the nodes that are docstrings, or words said of a constant."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def texts(tree: ast.AST) -> Iterator[str]:
    """Every string in the code."""
    said = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def identifiers(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield value


def named(words: Iterator[str]) -> set[str]:
    return {text for text in words if NAMES & {*WORD.findall(text.lower())}}


def tree(path: Path) -> ast.AST:
    return ast.parse(path.read_text())


@pytest.mark.parametrize("path", sources(GENERAL), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_serves_all_services_names_none(path: Path) -> None:
    code = tree(path)
    assert named(texts(code)) | named(imports(code)) | named(identifiers(code)) == set()


@pytest.mark.parametrize("path", sources(CUSTOMERS), ids=lambda path: str(path.relative_to(ROOT)))
def test_customers_look_into_no_service(path: Path) -> None:
    code = tree(path)
    assert named(imports(code)) == set()
    assert [text for text in texts(code) if TABLE.search(text)] == []


@pytest.mark.parametrize("pattern", SETTINGS)
def test_settings_name_no_service(pattern: str) -> None:
    paths = list(ROOT.glob(pattern))
    assert paths
    for path in paths:
        assert named(iter(path.read_text().splitlines())) == set(), path


def test_a_name_is_found_wherever_it_is_in_the_code() -> None:
    code = ast.parse("""
from api.orders import rules
import streams.views.orders
names = ("orders", "x", f"http://{host}/orders/stream", {"MAREA_ORDERS_URL": 1})
orders_port = 3
def f():
    '''Of orders.'''
""")
    assert named(imports(code)) == {"api.orders.rules", "streams.views.orders"}
    assert named(texts(code)) == {"orders", "/orders/stream", "MAREA_ORDERS_URL"}
    assert "orders_port" in named(identifiers(code))
