"""Kafka Connect with Debezium's PostgreSQL connector."""

from connectors import worker
from local.layout import HOST, Layout
from local.program import Program, http_get
from local.programs.java import JARS, java_sources, kafka_java, pinned_version, properties, watched

_HEAP_MIB = 512


def program(layout: Layout) -> Program:
    """One worker."""
    settings = layout.run / "connect.properties"
    main = "org.apache.kafka.connect.cli.ConnectDistributed"
    plugins = JARS / "plugins"
    return Program(
        name="connect",
        version=f"{pinned_version('kafka')}, Debezium {pinned_version('debezium')}",
        port=layout.port_of("connect"),
        command=kafka_java("connect", _HEAP_MIB, main, str(settings), agent=watched(layout, "connect")),
        environment={worker.PASSWORD_VARIABLE: layout.secrets["debezium"]},
        files={
            settings: properties(
                worker.settings(layout.address("kafka"), HOST, layout.port_of("connect"), plugins)
            )
        },
        sources=java_sources,
        after=("kafka",),
        # Answers 404 while it starts.
        check=lambda: _check(layout),
    )


def _check(layout: Layout) -> None:
    http_get(layout.environment["MAREA_CONNECT_URL"] + "/connectors")
