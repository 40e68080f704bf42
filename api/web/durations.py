"""How long requests take, by method, route and status."""

from functools import cache

from kernel.metrics import HTTP_DURATION, Observed, histogram

#: Whatever else a client may send is no label.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "_OTHER"


def note(method: str, route: str, status: int, seconds: float) -> None:
    """One answer; `route` is empty when the path has none."""
    _observed(method if method in _METHODS else _OTHER, route, status).observe(seconds)


@cache
def _observed(method: str, route: str, status: int) -> Observed:
    return histogram(HTTP_DURATION).labels(method, route, str(int(status)))
