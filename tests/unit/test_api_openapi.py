"""The document that describes the whole API."""

from typing import Any

import pytest

from api.services import services
from api.web.openapi import document


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    return document(services())


def operations(api: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(f"{method} {path}", one) for path, item in api["paths"].items() for method, one in item.items()]


def test_all_services_are_in_one_document(api: dict[str, Any]) -> None:
    assert api["openapi"].startswith("3.1")
    assert [tag["name"] for tag in api["tags"]] == [each.name for each in services()]
    assert {"post /v1/orders", "get /v1/stock/stream", "post /v1/products:batch"} <= dict(
        operations(api)
    ).keys()


def test_every_operation_says_what_it_does_what_it_gives_and_how_it_fails(api: dict[str, Any]) -> None:
    for name, operation in operations(api):
        assert operation["summary"], name
        assert "application/problem+json" in operation["responses"]["default"]["content"], name
        assert any(status.startswith("2") for status in operation["responses"]), name


def test_every_reference_has_its_schema(api: dict[str, Any]) -> None:
    def references(node: Any) -> set[str]:
        if isinstance(node, list):
            return set().union(*map(references, node))
        if isinstance(node, dict):
            here = {node["$ref"]} if "$ref" in node else set()
            return here.union(*map(references, node.values()))
        return set()

    assert references(api) <= {f"#/components/schemas/{name}" for name in api["components"]["schemas"]}


def test_an_order_needs_its_key(api: dict[str, Any]) -> None:
    [key] = api["paths"]["/v1/orders"]["post"]["parameters"]
    assert (key["name"], key["in"], key["required"]) == ("Idempotency-Key", "header", True)
