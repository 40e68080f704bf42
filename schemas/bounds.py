"""Whether what was written with a schema of the registry can be read in bounded time and memory.

Anybody may register a schema and write with it. Reading a value of a type that contains itself can exhaust the stack,
and that ends the process; of what takes no bytes, a few bytes can say that there are quintillions.
"""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

#: Parts that a schema may have, with each type counted wherever it is used.
MAX_PARTS = 400


def check_bounds(schema: Mapping[str, Any]) -> None:
    """`schema` is a parsed one of a record. Raises ValueError."""
    _fewest_bytes(schema, schema["__named_schemas"], count(1))


def _fewest_bytes(schema: Any, named: Mapping[str, Any], parts: Iterator[int]) -> int:
    """The fewest bytes that a value takes, or fewer, but not 0 for what takes some. `parts` counts."""
    if next(parts) > MAX_PARTS:
        raise ValueError(f"it has more than {MAX_PARTS} parts, or a type that contains itself")
    if isinstance(schema, str):
        return _fewest_bytes(named[schema], named, parts) if schema in named else int(schema != "null")
    inner = [_fewest_bytes(each, named, parts) for each in _inner(schema)]
    if isinstance(schema, list):
        return 1
    match schema["type"]:
        case "fixed":
            return int(schema["size"])
        case "array" if inner == [0]:
            raise ValueError("it has an array of what takes no bytes")
        case "array" | "map" | "enum":
            return 1
    return sum(inner)


def _inner(schema: Any) -> list[Any]:
    """The schemas that a schema is made of."""
    if isinstance(schema, list):
        return schema
    match schema["type"]:
        case "record" | "error":
            return [field["type"] for field in schema["fields"]]
        case "array":
            return [schema["items"]]
        case "map":
            return [schema["values"]]
        case "enum" | "fixed":
            return []
        case other:
            return [other]
