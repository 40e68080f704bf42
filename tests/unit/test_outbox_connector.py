"""One connector for each database, whatever the services' addresses are."""

from connectors.outbox import configuration, databases

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
