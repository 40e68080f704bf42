"""The document that describes the whole API."""

from typing import Any

import pytest

from api.services import services
from api.web.openapi import document
from local.programs import nginx


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    return document(services())


def operations(api: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(f"{method} {path}", one) for path, item in api["paths"].items() for method, one in item.items()]


def test_all_services_are_in_one_document(api: dict[str, Any]) -> None:
    assert api["openapi"].startswith("3.1")
    assert [tag["name"] for tag in api["tags"]] == [each.name for each in services()]
    assert {"post /v1/orders", "get /v1/streams/stock", "post /v1/products:batch"} <= dict(
        operations(api)
    ).keys()


def test_every_operation_says_what_it_does_what_it_gives_and_how_it_fails(api: dict[str, Any]) -> None:
    for name, operation in operations(api):
        assert operation["summary"], name
        assert any(status.startswith("2") for status in operation["responses"]), name
        assert {"400", "422", "503"} <= operation["responses"].keys(), name
        assert "default" not in operation["responses"], "else no status is undocumented"


def test_every_problem_is_one_and_says_what_comes_with_it(api: dict[str, Any]) -> None:
    problems = api["components"]["responses"]
    assert all(list(each["content"]) == ["application/problem+json"] for each in problems.values())
    assert "Retry-After" in problems["ServiceUnavailable"]["headers"]
    assert "Allow" in problems["MethodNotAllowed"]["headers"]


@pytest.mark.parametrize(
    ("operation", "statuses"),
    [
        ("post /v1/orders", {"409", "415"}),
        ("patch /v1/products/{sku}", {"404", "409", "412", "415"}),
        ("delete /v1/products/{sku}", {"404", "409", "412"}),
        ("get /v1/orders/{order_id}", {"304", "404", "412"}),
        ("get /v1/customers/{customer_id}/orders", {"404"}),
        ("get /v1/stock", set()),
        ("get /v1/cases", {"401"}),
        ("post /v1/returns/{order_id}/{number}/approve", {"401", "404", "409"}),
        ("post /v1/webhooks/provider", {"401", "409"}),
    ],
)
def test_an_operation_says_how_it_may_end(api: dict[str, Any], operation: str, statuses: set[str]) -> None:
    always = {"400", "413", "414", "422", "431", "502", "503", "504"}
    said = dict(operations(api))[operation]["responses"].keys()
    assert {status for status in said if not status.startswith("2")} == always | statuses


def test_what_has_a_version_says_it_as_a_tag_and_takes_tags(api: dict[str, Any]) -> None:
    tagged = {"get", "post", "put", "patch", "delete"}
    for method in tagged & api["paths"]["/v1/products/{sku}"].keys():
        operation = api["paths"]["/v1/products/{sku}"][method]
        assert "ETag" in operation["responses"]["200"]["headers"]
        assert "If-Match" in [parameter["name"] for parameter in operation["parameters"]]
    assert {"ETag", "Location"} <= api["paths"]["/v1/orders"]["post"]["responses"]["201"]["headers"].keys()
    read = api["paths"]["/v1/stock/{sku}"]["get"]
    assert "If-None-Match" in [parameter["name"] for parameter in read["parameters"]]
    assert "ETag" in read["responses"]["304"]["headers"]


def test_the_front_door_lets_every_header_through_that_means_something(api: dict[str, Any]) -> None:
    parameters = [each for _, operation in operations(api) for each in operation.get("parameters", ())]
    assert {each["name"] for each in parameters if each["in"] == "header"} <= set(nginx.HEADERS)
    assert "Authorization" in nginx.HEADERS, "what staff's operations ask for is a scheme, and no parameter"


def test_every_body_and_every_answer_has_an_example_that_is_one(api: dict[str, Any]) -> None:
    for name, operation in operations(api):
        contents = [operation.get("requestBody", {}).get("content", {})]
        contents += [answer.get("content", {}) for answer in operation["responses"].values()]
        for content in contents:
            for reference in (kind["schema"]["$ref"] for kind in content.values() if "$ref" in kind["schema"]):
                schema = api["components"]["schemas"][reference.rpartition("/")[2]]
                assert schema["example"].keys() >= set(schema.get("required", ())), (name, reference)
                assert schema["example"].keys() <= schema["properties"].keys(), (name, reference)


def test_every_reference_has_its_schema(api: dict[str, Any]) -> None:
    def references(node: Any) -> set[str]:
        if isinstance(node, list):
            return set().union(*map(references, node))
        if isinstance(node, dict):
            here = {node["$ref"]} if "$ref" in node else set()
            return here.union(*map(references, node.values()))
        return set()

    kinds = ("schemas", "responses")
    assert references(api) <= {f"#/components/{kind}/{name}" for kind in kinds for name in api["components"][kind]}


def test_an_order_needs_its_key(api: dict[str, Any]) -> None:
    [key] = api["paths"]["/v1/orders"]["post"]["parameters"]
    assert (key["name"], key["in"], key["required"]) == ("Idempotency-Key", "header", True)
