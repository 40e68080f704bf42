"""What `status` tells: whether anything stands still, every relay, every consumer, deadlines and tasks."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg2 import Error as PostgreSQLError

from ops import consumers, due, health
from ops.consumers import Fare
from ops.positions import UNANSWERED, said
from ops.relay import relays
from ops.trouble import Trouble, unknown, verdict


def describe(known: Sequence[Trouble] = ()) -> dict[str, Any]:
    """The verdict and what it rests on, with the troubles that are `known` already before those that are found.

    Instead of the relays, the consumers or what is due there is a text that says why they are not known.
    """
    fares = _fares()
    looks = {**health.LOOKS, "the consumers": lambda: _of_consumers(fares)}
    return {
        **judge([*known, *health.troubles(looks)]),
        "relays": _relays(),
        "consumers": [each.as_json() for each in fares] if isinstance(fares, list) else fares,
        "due": _due(),
    }


def judge(troubles: Sequence[Trouble]) -> dict[str, Any]:
    """The verdict, and the troubles."""
    now = datetime.now(UTC)
    return {"verdict": verdict(troubles, now), "troubles": [trouble.as_json(now) for trouble in troubles]}


def _of_consumers(fares: list[Fare] | str) -> list[Trouble]:
    if isinstance(fares, list):
        return consumers.troubles(fares)
    return [unknown("the consumers", fares)]


def _relays() -> list[dict[str, Any]] | str:
    try:
        return [each.as_json() for each in relays()]
    except PostgreSQLError as error:
        return str(error).partition("\n")[0]


def _due() -> list[dict[str, Any]] | str:
    try:
        now = datetime.now(UTC)
        return [each.as_json(now) for each in due.waiting()]
    except PostgreSQLError as error:
        return str(error).partition("\n")[0]


def _fares() -> list[Fare] | str:
    try:
        return consumers.fares()
    except UNANSWERED as error:
        return said(error)
