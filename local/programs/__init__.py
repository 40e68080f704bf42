"""The programs of the stack: each module says how its programs are configured, started and found ready."""

from local.layout import Layout
from local.program import Program
from local.programs import (
    clickhouse,
    connect,
    exporters,
    kafka,
    keep,
    nginx,
    observer,
    postgresql,
    prometheus,
    redis,
    registry,
    services,
    simulators,
    workers,
)


def programs(layout: Layout) -> tuple[Program, ...]:
    """Every program of a stack."""
    return (*_core(layout), *_watching(layout)) if layout.profile == "full" else _core(layout)


def _watching(layout: Layout) -> tuple[Program, ...]:
    """Those who watch the others."""
    return (
        observer.program(layout),
        *exporters.programs(layout),
        prometheus.alertmanager(layout),
        prometheus.program(layout),
    )


def _core(layout: Layout) -> tuple[Program, ...]:
    """What carries orders."""
    return (
        postgresql.program(layout),
        redis.program(layout),
        kafka.program(layout),
        clickhouse.program(layout),
        registry.program(layout),
        connect.program(layout),
        keep.program(layout),
        *simulators.programs(layout),
        *services.programs(layout),
        *workers.programs(layout),
        nginx.program(layout),
    )
