"""Apicurio Registry, through its Confluent-compatible API; its schemas are kept in PostgreSQL."""

from local.layout import HOST, Layout
from local.program import Program, http_get
from local.programs.java import JARS, java, java_sources, pinned_version

_HEAP_MIB = 192


def program(layout: Layout) -> Program:
    """One server."""
    port = layout.port_of("registry")
    return Program(
        name="registry",
        version=pinned_version("apicurio"),
        port=port,
        # One compiler tier: it serves a schema now and then, and its start is what counts.
        command=java(
            "registry",
            _HEAP_MIB,
            "-XX:TieredStopAtLevel=1",
            "-jar",
            str(JARS / "apicurio" / "quarkus-run.jar"),
        ),
        environment={
            "QUARKUS_HTTP_HOST": HOST,
            "QUARKUS_HTTP_PORT": str(port),
            # Health and metrics: by default on all interfaces, at a port that every stack would want.
            "QUARKUS_MANAGEMENT_HOST": HOST,
            "QUARKUS_MANAGEMENT_PORT": str(layout.port_of("registry-management")),
            "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
            "QUARKUS_LOG_LEVEL": "WARN",
            "QUARKUS_LOG_CONSOLE_COLOR": "false",
            "APICURIO_STORAGE_KIND": "sql",
            "APICURIO_STORAGE_SQL_KIND": "postgresql",
            "APICURIO_DATASOURCE_URL": f"jdbc:postgresql://{layout.address('postgresql')}/registry",
            "APICURIO_DATASOURCE_USERNAME": "registry",
            "APICURIO_DATASOURCE_PASSWORD": layout.secrets["registry"],
            # By default it keeps twenty connections, and after PostgreSQL was away each of them fails a request.
            "APICURIO_DATASOURCE_JDBC_INITIAL_SIZE": "1",
            "APICURIO_DATASOURCE_JDBC_MIN_SIZE": "1",
            "APICURIO_DATASOURCE_JDBC_MAX_SIZE": "8",
            "QUARKUS_DATASOURCE_POSTGRESQL_JDBC_VALIDATE_ON_BORROW": "true",
        },
        after=("server",),
        sources=java_sources,
        check=lambda: _check(layout),
    )


def _check(layout: Layout) -> None:
    http_get(layout.environment["MAREA_REGISTRY_URL"] + "/subjects")
