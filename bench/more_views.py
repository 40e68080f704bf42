"""More views on the orders' topic, to see what one costs."""

from collections.abc import Iterator
from dataclasses import replace

from streams.engine.consumer import Row, View


def more(order: View, folding: int, ignoring: int) -> Iterator[View]:
    """So many views that do what the `order` view does, and so many that take no event at all."""
    for number in range(folding):
        yield replace(order, name=f"folding_{number}")
    for number in range(ignoring):
        yield replace(order, name=f"ignoring_{number}", fold=_ignore, indexes={})


def _ignore(row: Row | None, event: object) -> Row | None:
    return row
