"""How what goes wrong is answered."""

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.web import problems
from kernel import refusals


class SoldOut(refusals.Conflict):
    """A refusal that a service made for itself."""


class Ended(refusals.Unavailable):
    """Another."""


RAISED: dict[str, refusals.Refused] = {
    kind.__name__: kind("this is why") for kind in (*refusals.Refused.__subclasses__(), SoldOut, Ended)
}


@pytest.fixture
def client() -> Iterator[FlaskClient]:
    app = Flask("test")
    problems.register(app)

    @app.get("/<name>")
    def refuse(name: str) -> str:
        raise RAISED[name]

    with app.test_client() as client:
        yield client


@pytest.mark.parametrize(("name", "status"), [("Unknown", 404), ("SoldOut", 409), ("TooLarge", 413), ("Ended", 503)])
def test_a_kind_of_a_refusal_is_answered_as_what_it_is_a_kind_of(
    client: FlaskClient, name: str, status: int
) -> None:
    answer = client.get(f"/{name}")
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert answer.get_json(force=True)["detail"] == RAISED[name].detail
    assert ("Retry-After" in answer.headers) == (status == 503)


@pytest.mark.parametrize("name", RAISED)
def test_no_refusal_is_our_fault(client: FlaskClient, name: str) -> None:
    assert client.get(f"/{name}").status_code != 500
