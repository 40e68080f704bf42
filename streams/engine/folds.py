"""The code that makes a view's or a table's rows: a generation keeps the fingerprints of all that has written to it."""

from pathlib import Path

from kernel.code import ROOT, fingerprint_of
from streams.engine import indexes
from streams.engine.consumer import Table, View


def fold_of(consumer: View | Table) -> str:
    """The fingerprint of the consumer's module and all of ours that it imports, and of a table's columns, or of what
    makes a view's index entries.
    """
    if not consumer.module:
        return ""
    if isinstance(consumer, Table):
        return fingerprint_of(consumer.module, ROOT / consumer.columns)
    return fingerprint_of(consumer.module, Path(indexes.__file__) if consumer.indexes else None)
