"""The code that makes a view's or a table's rows: a generation keeps the fingerprint of what built it."""

from pathlib import Path

from kernel.code import ROOT, fingerprint_of
from streams.engine.consumer import Table, View


def fold_of(consumer: View | Table) -> str:
    """The fingerprint of the consumer's module and all of ours that it imports, and of a table's columns."""
    if not consumer.module:
        return ""
    return fingerprint_of(consumer.module, columns_of(consumer) if isinstance(consumer, Table) else None)


def columns_of(table: Table) -> Path:
    """The file with the table's columns: sql/clickhouse/<service>/<table>.sql."""
    service, name = table.module.split(".")[-2:]
    return ROOT / "sql" / "clickhouse" / service / f"{name}.sql"
