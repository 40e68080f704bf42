"""What a WSGI server runs: `api.wsgi:create_app('orders')`."""

from flask_openapi3.openapi import OpenAPI

from api.services import service


def create_app(name: str) -> OpenAPI:
    """The named service. Raises LookupError when there is no such service."""
    return service(name).create_app()
