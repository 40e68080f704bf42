"""One OpenAPI document of all services."""

from collections.abc import Iterable, Mapping
from typing import Any

from api.manifest import Resources, Service
from api.web.described import SECURITY_SCHEMES, describe, responses
from kernel.clock import SYSTEM
from kernel.events import codec
from streams.engine.reader import Views

_DESCRIPTION = """Commands go to the service that owns what they change; reads are live views.

Whatever fails is answered with a problem (RFC 9457). A method that a path does not have gets 405, with those that it
has in `Allow`. A body may be compressed with gzip or zstd; no object in it may have a key twice."""


def document(described: Iterable[Service]) -> dict[str, Any]:
    """All their routes, as the front door has them. Raises ValueError when two services mean different things."""
    documents = [each.create_app(_nothing(each)).api_doc for each in described]
    paths = _union(each["paths"] for each in documents)
    schemas = _union(each["components"]["schemas"] for each in documents)
    for path, operations in paths.items():
        for method, operation in operations.items():
            describe(method, path, operation, schemas)
    return {
        "openapi": documents[0]["openapi"],
        "info": {
            "title": "Marea",
            "version": documents[0]["info"]["version"],
            "description": _DESCRIPTION,
        },
        "tags": [tag for each in documents for tag in each["tags"]],
        "paths": paths,
        "components": {"schemas": schemas, "responses": responses(), "securitySchemes": SECURITY_SCHEMES},
    }


def _nothing(each: Service) -> Resources:
    """Enough to say what the routes are: nothing is there, and nobody connects to it."""
    return Resources(
        *(each.name, each.topics, "", Views("redis://", 1), SYSTEM, {**each.settings, **dict.fromkeys(each.secrets, "-")}),
        *(codec, "", 1),
    )


def _union(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    union: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if union.setdefault(name, value) != value:
                raise ValueError(f"two services mean different things by {name}")
    return union
