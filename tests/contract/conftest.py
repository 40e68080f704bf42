"""A database that has the services' schemas and no relay: nothing of what happens there is ever published."""

from datetime import UTC, datetime

import pytest

from local.layout import Layout, databases
from local.stack import Stack
from ops.databases import admin
from ops.migrate import make_schemas
from ops.outboxes import make_partitions
from tests.events import START

DATABASE = "contract"


@pytest.fixture(scope="session")
def layout(stack: Stack) -> Layout:
    """That of the stack; its database DATABASE is ready for events of now and of those that tests tell of."""
    url = stack.layout.database_url("admin", DATABASE)
    make_schemas(url, databases())
    with admin(url) as cursor:
        for service in databases():
            for moment in (START, datetime.now(UTC)):
                make_partitions(cursor, service, moment)
    return stack.layout
