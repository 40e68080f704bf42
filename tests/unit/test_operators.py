"""Who may do what only staff may: whoever sends the operator's key, and nobody else."""

from http import HTTPStatus
from typing import Any

import pytest
from flask import Response
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.services import services
from api.web import app as web
from api.web import replies
from api.web.described import describe
from api.web.idempotency import RequiredKey
from api.web.operators import Staff
from api.web.requests import Body, Headers

KEY = "3f6d0c5e6a7b4d439a401f1c9e4e5b0a"
[SERVICE, *_] = services()


class Ruling(Staff, RequiredKey):
    """What a command of staff brings."""


class Reason(Body):
    reason: str


def app(key: str) -> Any:
    def settle(header: Ruling, body: Reason) -> Response:
        """Settles a case."""
        return replies.reply({"key": header.key, "reason": body.reason})

    def look(header: Headers) -> Response:
        """For everybody."""
        return replies.reply({})

    routes = web.blueprint(SERVICE)
    routes.post("/v1/cases", responses={HTTPStatus.OK: Reason})(settle)
    routes.get("/v1/looks", responses={HTTPStatus.OK: Reason})(look)
    return web.create_app(SERVICE, routes, operator_key=key)


@pytest.fixture
def client() -> FlaskClient:
    client: FlaskClient = app(KEY).test_client()
    return client


def settle(client: FlaskClient, authorization: str | None, body: Any = None) -> TestResponse:
    headers = {"Idempotency-Key": "k"} | ({} if authorization is None else {"Authorization": authorization})
    return client.post("/v1/cases", json=body or {"reason": "asked"}, headers=headers)


@pytest.mark.parametrize("authorization", [f"Bearer {KEY}", f"bearer  {KEY}"])
def test_staff_is_let_in(client: FlaskClient, authorization: str) -> None:
    assert settle(client, authorization).get_json() == {"key": "k", "reason": "asked"}


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", f"Basic {KEY}", KEY, "Bearer wrong", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer caf\xe9"],
)
def test_nobody_else_is_and_is_told_how_to_say_who_he_is(client: FlaskClient, authorization: str | None) -> None:
    answer = settle(client, authorization)
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="staff"'
    assert answer.content_type == "application/problem+json"
    assert KEY not in answer.get_data(as_text=True)


def test_who_is_not_staff_does_not_learn_what_is_wrong_with_his_body(client: FlaskClient) -> None:
    assert settle(client, None, body={"other": 1}).status_code == HTTPStatus.UNAUTHORIZED
    assert settle(client, f"Bearer {KEY}", body={"other": 1}).status_code == HTTPStatus.UNPROCESSABLE_ENTITY


@pytest.mark.parametrize("authorization", [None, "Bearer ", "Bearer x"])
def test_without_a_key_in_the_settings_nobody_is_staff(authorization: str | None) -> None:
    assert settle(app("").test_client(), authorization).status_code == HTTPStatus.UNAUTHORIZED


def test_whatever_is_not_for_staff_needs_no_key(client: FlaskClient) -> None:
    assert client.get("/v1/looks").status_code == HTTPStatus.OK


def test_the_document_says_which_operations_are_staffs_and_has_no_parameter_for_the_key() -> None:
    doc = app(KEY).api_doc
    paths, schemas = doc["paths"], doc["components"]["schemas"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            describe(method, path, operation, schemas)
    settle_, look = paths["/v1/cases"]["post"], paths["/v1/looks"]["get"]
    assert settle_["security"] == [{"operator": []}]
    assert settle_["responses"]["401"] == {"$ref": "#/components/responses/Unauthorized"}
    assert [each["name"] for each in settle_["parameters"]] == ["Idempotency-Key"]
    assert "security" not in look
    assert "401" not in look["responses"]
