"""The programs of the stack: each module says how its programs are configured, started and found ready."""

from local.layout import Layout
from local.program import Program
from local.programs import (
    clickhouse,
    connect,
    kafka,
    keep,
    nginx,
    postgresql,
    redis,
    registry,
    services,
    workers,
)


def programs(layout: Layout) -> tuple[Program, ...]:
    """Every program of a stack."""
    return (
        postgresql.program(layout),
        redis.program(layout),
        kafka.program(layout),
        clickhouse.program(layout),
        registry.program(layout),
        connect.program(layout),
        keep.program(layout),
        *services.programs(layout),
        *workers.programs(layout),
        nginx.program(layout),
    )
