"""Who may do what staff does: whoever has the operator's key of the settings. (Until there are users.)"""

import hmac
from typing import Annotated

import flask
from pydantic import Field

from api.web.requests import Headers
from kernel.refusals import Unauthorized

#: Who an operator is in the audit, and as the caller of commands that count once.
OPERATOR = "operator"
#: Where an app keeps the key that it was given.
CONFIG = "OPERATOR_KEY"
_SCHEME = "bearer "


class Staff(Headers):
    """What a request brings that only staff may send: a route whose headers are these is not called for anybody else."""

    authorization: Annotated[str, Field(alias="Authorization")] = ""


def check(header: Headers) -> None:
    """Raises Unauthorized when only staff may send this, and the sender is not known to be staff."""
    if isinstance(header, Staff):
        _check(header.authorization, flask.current_app.config[CONFIG])


def _check(authorization: str, key: str) -> None:
    """Without a key nobody is staff. The comparison takes the same time wherever the two differ."""
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        raise Unauthorized("This is for staff: send Authorization: Bearer, and the operator's key.")
    given = authorization[len(_SCHEME) :].strip()
    if not key or not hmac.compare_digest(given.encode(), key.encode()):
        raise Unauthorized("This is not the operator's key.")
