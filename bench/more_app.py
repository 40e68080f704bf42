"""The shipped workers' app with more views: `faust -A bench.more_app worker`, for `marea bench consumers`.

MORE_FOLDING and MORE_IGNORING say how many there are of each kind. Nothing in production knows of them: they are added
to what this process takes for the services' views.
"""

import os
from typing import cast

from api.services import views
from bench.more_views import more
from streams.engine.consumer import View

# `views` is asked once a process and remembered, so this comes before the app asks.
_more = more(int(os.environ["MORE_FOLDING"]), int(os.environ["MORE_IGNORING"]))
cast("dict[str, View]", views()).update({view.name: view for view in _more})

from streams.app import app  # noqa: E402

__all__ = ["app"]
