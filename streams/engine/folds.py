"""The code that makes a view's or a table's rows: a generation keeps the fingerprints of all that has written to it."""

from kernel.code import ROOT, fingerprint_of
from streams.engine.consumer import Table, View


def fold_of(consumer: View | Table) -> str:
    """The fingerprint of the consumer's module and all of ours that it imports, and of a table's columns."""
    if not consumer.module:
        return ""
    return fingerprint_of(consumer.module, ROOT / consumer.columns if isinstance(consumer, Table) else None)
