"""One connector for each database, whatever the services' addresses are, and registered when Connect is busy."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from connectors.relay import RelayDown, configuration, connector_status, databases

URLS = {
    "orders": "postgresql://orders:pw@one:5432/marea",
    "catalog": "postgresql://catalog:pw@one/marea",
    "inventory": "postgresql://inventory:pw@two:6432/marea",
}


def test_services_of_one_database_share_a_connector() -> None:
    one, two = databases(URLS)
    assert (one.host, one.port, one.name, one.services) == ("one", 5432, "marea", ("catalog", "orders"))
    assert (two.host, two.port, two.services) == ("two", 6432, ("inventory",))


def test_connectors_of_databases_of_one_name_are_told_apart() -> None:
    one, two = databases(URLS)
    assert one.slot == two.slot == "marea_outbox"
    assert one.connector != two.connector
    assert one.heartbeat_topic != two.heartbeat_topic


def test_a_connector_captures_the_outboxes_and_nothing_else() -> None:
    found = configuration(databases(URLS)[0])
    assert found["table.include.list"] == "catalog.outbox,orders.outbox"
    assert found["publication.name"] == found["slot.name"] == "marea_outbox"


def test_no_password_is_in_a_configuration() -> None:
    assert configuration(databases(URLS)[0])["database.password"] == "${env:MAREA_DEBEZIUM_PASSWORD}"


@contextmanager
def connect_that_answers(*answers: tuple[int, object]) -> Iterator[str]:
    """The address of a server that gives these answers, one a request."""
    left = iter(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = next(left)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("busy", [409, 500, 503])
def test_connect_is_asked_again_while_its_workers_share_out_connectors(busy: int) -> None:
    running = {"connector": {"state": "RUNNING"}, "tasks": [{"state": "RUNNING"}]}
    with connect_that_answers((busy, {"message": "a rebalance is expected"}), (200, running)) as url:
        assert connector_status(url, databases(URLS)[0]).state == "RUNNING"


def test_what_connect_refuses_is_not_asked_again() -> None:
    with (
        connect_that_answers((400, {"message": "no such class"})) as url,
        pytest.raises(RelayDown, match="no such class"),
    ):
        connector_status(url, databases(URLS)[0])
