"""What a service would be without views: plain Flask over PostgreSQL, for `marea bench reads` to compare with.

The same answers, from the services' own tables, a connection a thread, by the id that is asked for.
"""

import os
import threading
from typing import Any

import psycopg2
from flask import Flask, Response, abort

DATABASE_URL = "PLAIN_DATABASE_URL"

_ORDER = """
SELECT jsonb_build_object('id', id, 'version', version, 'customer_id', customer_id, 'status', status, 'reason', reason,
    'currency', currency, 'total_minor', total_minor, 'lines', lines, 'placed_at', placed_at, 'updated_at', updated_at)::text
FROM orders.orders WHERE id = %s
"""
_PRODUCT = "SELECT to_jsonb(product)::text FROM catalog.product WHERE sku = %s"


def create_app() -> Flask:
    """The application; its database is named by the environment."""
    app = Flask("plain")
    connections = threading.local()

    def answer(statement: str, key: str) -> Response:
        connection: Any = getattr(connections, "connection", None)
        if connection is None:
            connection = connections.connection = psycopg2.connect(os.environ[DATABASE_URL])
            connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, (key,))
            row = cursor.fetchone()
        return Response(row[0], mimetype="application/json") if row else abort(404)

    @app.get("/v1/orders/<key>")
    def get_order(key: str) -> Response:
        return answer(_ORDER, key)

    @app.get("/v1/products/<key>")
    def get_product(key: str) -> Response:
        return answer(_PRODUCT, key)

    return app
