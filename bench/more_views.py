"""The shipped workers' app with more views on the orders' topic: `faust -A bench.more_views worker`.

MORE_FOLDING of them do what the `order` view does, under names of their own; MORE_IGNORING take no event at all.
Nothing in production knows of them: they are added to what this process takes for the services' views.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from api.services import views
from streams.engine.consumer import Row, View


def more(folding: int, ignoring: int) -> Iterator[View]:
    """So many views of each kind."""
    order = views()["order"]
    for number in range(folding):
        yield replace(order, name=f"folding_{number}")
    for number in range(ignoring):
        yield replace(order, name=f"ignoring_{number}", fold=_ignore, rank=None)


def _ignore(row: Row | None, event: object) -> Row | None:
    return row


# `views` is asked once a process and remembered, so this comes before the app asks.
cast("dict[str, View]", views()).update(
    {view.name: view for view in more(int(os.environ["MORE_FOLDING"]), int(os.environ["MORE_IGNORING"]))}
)

from streams.app import app  # noqa: E402

__all__ = ["app"]
