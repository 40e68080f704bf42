"""`python -m schemas.generate`: what Python knows of each event, from its .avsc. With --check it only compares.

For each folder of .avsc an __init__.py: a TypedDict for the data of each event and for each record in it, the event's
type, and the union of the topic's events. A field with "values" has one of these texts, which have a name of their own.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from schemas.codec import TYPES, EventType

FOLDER = Path(__file__).parent
COMMAND = "python -m schemas.generate"

_PLAIN = {
    "null": "None",
    "boolean": "bool",
    "int": "int",
    "long": "int",
    "float": "float",
    "double": "float",
    "bytes": "bytes",
    "string": "str",
}


def generated() -> Iterator[tuple[Path, str]]:
    """Each file and what has to be in it."""
    by_topic = attrgetter("topic")
    for topic, types in groupby(sorted(TYPES.values(), key=by_topic), by_topic):
        aggregate = topic.rpartition(".")[2]
        yield FOLDER / aggregate / "__init__.py", _module(aggregate, list(types))


def stale() -> list[Path]:
    """The files that are not as the .avsc say."""
    return [path for path, text in generated() if not path.exists() or path.read_text() != text]


def _module(aggregate: str, types: list[EventType]) -> str:
    records = [json.loads(each.text) for each in types]
    names = [record["name"] for record in records]
    values = list(dict.fromkeys(_values(aggregate, records)))
    classes = list(_classes(aggregate, records))
    event = f"{aggregate.title()}Event"
    blocks = [
        f'"""Events of {aggregate}: generated from the .avsc beside this by `{COMMAND}`, not to be edited."""',
        _imports("\n".join(classes)),
        *(["\n".join(values)] if values else []),
        *classes,
        "\n" + "\n".join(f'{name} = Event[Literal["{name}"], {name}Data]' for name in names),
        f"{event} = {' | '.join(names)}\n{event}Type = {_literal(names)}",
        f'TOPIC = Topic[{event}]("{types[0].topic}")',
    ]
    return "\n\n".join(blocks) + "\n"


def _imports(classes: str) -> str:
    datetime = "from datetime import datetime\n" if "datetime" in classes else ""
    return f"{datetime}from typing import Literal, TypedDict\n\nfrom schemas.event import Event, Topic"


def _values(aggregate: str, records: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The names of fields' possible values. Raises ValueError when one name has several."""
    named: dict[str, str] = {}
    for record in records:
        for each in _nested(record):
            owner = aggregate.title() if each is record else each["name"]
            for field in each["fields"]:
                if "values" in field:
                    name, literal = owner + field["name"].title(), _literal(field["values"])
                    if named.setdefault(name, literal) != literal:
                        raise ValueError(f"there are two {name}, with other values each")
                    yield f"{name} = {literal}"


def _classes(aggregate: str, records: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A TypedDict for each record, after those of which it is made."""
    made: dict[str, str] = {}
    for record in records:
        for each in _nested(record):
            owner = aggregate.title() if each is record else each["name"]
            name = each["name"] + ("Data" if each is record else "")
            text = _class(name, owner, each)
            if made.setdefault(name, text) != text:
                raise ValueError(f"there are two records {name}, with other fields each")
    yield from made.values()


def _nested(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for each in schema:
            yield from _nested(each)
    elif isinstance(schema, dict):
        for field in schema.get("fields", ()):
            yield from _nested(field["type"])
        for part in ("items", "values", "type"):
            yield from _nested(schema.get(part))
        if schema.get("type") == "record":
            yield schema


def _class(name: str, owner: str, record: dict[str, Any]) -> str:
    lines = [f"\nclass {name}(TypedDict):", f'    """{record.get("doc", f"Part of {name}.")}"""', ""]
    for field in record["fields"]:
        if "doc" in field:
            lines.append(f"    #: {field['doc']}")
        type_ = owner + field["name"].title() if "values" in field else _type(field["type"])
        lines.append(f"    {field['name']}: {type_}")
    return "\n".join(lines)


def _type(schema: Any) -> str:
    """The Python type of what the codec decodes. Raises ValueError."""
    if isinstance(schema, list):
        # A field's default is of the first type; in Python None comes last.
        return " | ".join(_type(each) for each in sorted(schema, key=lambda each: each == "null"))
    if isinstance(schema, str) and schema in _PLAIN:
        return _PLAIN[schema]
    match schema:
        case {"type": "long", "logicalType": "timestamp-micros"}:
            return "datetime"
        case {"type": "array", "items": items}:
            return f"list[{_type(items)}]"
        case {"type": "record", "name": name}:
            return str(name)
    raise ValueError(f"no Python type is known for {schema}: teach it to {__file__}")


def _literal(texts: Iterable[str]) -> str:
    return f"Literal[{', '.join(json.dumps(text) for text in dict.fromkeys(texts))}]"


def main(arguments: list[str]) -> int:
    """Exit code 1 when --check finds something to do."""
    files = stale()
    if "--check" in arguments:
        for path in files:
            sys.stderr.write(f"{path} is not as the .avsc say: run `{COMMAND}`\n")
        return 1 if files else 0
    texts = dict(generated())
    for path in files:
        path.write_text(texts[path])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
