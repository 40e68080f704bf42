"""What a WSGI server runs: the app that `from_settings` makes. Here a service is given what the settings name."""

from functools import partial

from flask_openapi3.openapi import OpenAPI

from api.manifest import Resources, Service
from api.services import service
from kernel import settings
from kernel.clock import SYSTEM
from kernel.events import codec
from streams.engine.reader import Views


def from_settings() -> OpenAPI:
    """The service that the settings name. Raises LookupError when there is no such service, or a setting is missing."""
    return create_app(settings.service())


def create_app(name: str) -> OpenAPI:
    """The named service. Raises LookupError when there is no such service, or a setting is missing."""
    each = service(name)
    app = each.create_app(resources(each))
    assert isinstance(app, OpenAPI), f"{name} is not of WSGI, whatever its manifest says"
    return app


def resources(each: Service) -> Resources:
    """What the settings name. Raises LookupError when one is missing."""
    return Resources(
        name=each.name,
        topics=each.topics,
        database_url=settings.database_url(each.name) if each.has_database else None,
        views=Views(settings.redis_url(), settings.partitions(), each.threads // 4),
        clock=SYSTEM,
        settings={
            **{name: settings.setting(name, default) for name, default in each.settings.items()},
            **{name: settings.setting(name) for name in each.secrets},
        },
        # Who publishes nothing is there to read, and may not wait for the registry while it does.
        codec=partial(codec, each.topics) if each.topics else codec,
        kafka=settings.kafka(),
        partitions=settings.partitions(),
    )
