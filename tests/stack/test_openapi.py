"""What the OpenAPI document says is true, of requests that follow it and of others, as Schemathesis makes them."""

from typing import Any

import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks

from api.services import services
from api.web.openapi import document
from kernel import settings
from local.stack import Stack
from tests.stack.shop import Shop, eventually

pytestmark = pytest.mark.usefixtures("milk")

CONFIG = SchemathesisConfig.from_dict(
    {
        "seed": 7,
        "generation": {"max-examples": 40, "deterministic": True, "database": "none"},
        "phases": {"coverage": {"unexpected-methods": ["DELETE", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"]}},
    }
)
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.unsupported_method,
    checks.allow_header_conformance,
    checks.missing_required_header,
    checks.ignored_auth,
]
#: Many items: each that is wrong has a result of its own, the request has not.
BATCHES = r":\w+$"
#: Its answer does not end.
STREAMS = r"/stream"

api = schemathesis.openapi.from_dict(document(services()), config=CONFIG).exclude(path_regex=STREAMS)


def as_staff() -> dict[str, str]:
    """What staff's operations ask for, and the others do not look at."""
    return {"Authorization": f"Bearer {settings.setting('OPERATOR_KEY', 'no service has one')}"}


@pytest.fixture(scope="module")
def milk(stack: Stack) -> None:
    """What the examples name is there, so that they are carried out."""
    shop = Shop()
    shop.post("/products", shop.product("milk") | {"sku": "milk"})
    assert shop.post("/stock/milk/receipts", {"quantity": 1_000}).ok
    eventually(lambda: shop.get("/stock/milk").ok and shop.get("/products/milk").ok)


@api.exclude(path_regex=BATCHES).parametrize()
def test_an_operation_does_what_is_said_of_it_and_refuses_what_its_schema_forbids(case: schemathesis.Case[Any]) -> None:
    # At the front door a header without a value is none: nginx can't tell them apart.
    refusals = () if "" in case.headers.values() else (checks.negative_data_rejection,)
    case.call_and_validate(
        base_url=settings.setting("API_URL"), headers=as_staff(), checks=[*CHECKS, *refusals], timeout=30
    )


@api.include(path_regex=BATCHES).parametrize()
def test_an_operation_of_many_items_does_what_is_said_of_it(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(base_url=settings.setting("API_URL"), headers=as_staff(), checks=CHECKS, timeout=30)
