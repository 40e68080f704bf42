"""The shipped workers' app with more views: `faust -A bench.more_app worker`, for `marea bench consumers`.

MORE_FOLDING and MORE_IGNORING say how many there are of each kind. Nothing in production knows of them: they are added
to what this process takes for the services' consumers.
"""

import os
from typing import cast

from api.services import consumers
from bench.more_views import more
from streams.engine.consumer import Consumer, View

# Consumers are listed once a process, and views are found among them: this comes before the app asks for either.
_listed = cast("list[Consumer]", consumers())
_order = next(each for each in _listed if isinstance(each, View) and each.name == "order")
_listed += more(_order, int(os.environ["MORE_FOLDING"]), int(os.environ["MORE_IGNORING"]))

from streams.app import app  # noqa: E402

__all__ = ["app"]
