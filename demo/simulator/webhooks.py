"""What a company tells by itself: signed, sent at its time, and again until it is taken. SIGKILL loses none of it."""

import asyncio
import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from time import time
from typing import Any, NamedTuple

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout
from uuid_utils import uuid7

from demo.simulator.clock import Bell, Clock
from demo.simulator.store import Store
from kernel.pauses import backoff_s

HEADER = "Webhook-Signature"
#: So many are on their way at once.
_MOST_AT_ONCE = 32
_TIMEOUT_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 30.0

log = logging.getLogger(__name__)


class Delivery(NamedTuple):
    """One message to be sent; the same event may have several."""

    number: int
    body: bytes
    attempts: int


def sign(body: bytes, secrets: Sequence[str], now_s: float) -> dict[str, str]:
    """The header by which a message is known to be ours: signed with each secret, at this moment of the real time."""
    moment = str(int(now_s))
    signatures = [hmac.digest(each.encode(), moment.encode() + b"." + body, "sha256").hex() for each in secrets]
    return {HEADER: ",".join([f"t={moment}", *(f"v1={signature}" for signature in signatures)])}


class Outbox:
    """The messages that wait. Nothing is kept for a company that tells nobody; `ring` wakes whoever brings them.

    Each is sent `after_s` seconds after its moment.
    """

    def __init__(self, store: Store, ring: Callable[[], None], *, tells: bool, after_s: float = 0.0) -> None:
        self._sql, self._ring, self._tells, self._after_s = store.sql, ring, tells, after_s

    def tell(self, event: Mapping[str, Any], due_at: Sequence[float]) -> list[int]:
        """Has an event told at each of these moments, under one id; in the caller's transaction. Gives the messages' numbers."""
        if not self._tells or not due_at:
            return []
        body = orjson.dumps({"id": f"evt_{uuid7().hex}", **event})
        self._ring()
        sql = "INSERT INTO delivery (body, due_at) VALUES (?, ?) RETURNING number"
        return [int(self._sql.execute(sql, (body, moment + self._after_s)).fetchone()[0]) for moment in due_at]

    def due(self, now: float, limit: int, under_way: Mapping[int, object]) -> list[Delivery]:
        """At most so many whose time has come, of those that are not under way."""
        sql = "SELECT number, body, attempts FROM delivery WHERE due_at <= ? ORDER BY due_at, number LIMIT ?"
        rows = self._sql.execute(sql, (now, limit + len(under_way)))
        return [Delivery(*row) for row in rows if row["number"] not in under_way][:limit]

    def next_at(self, under_way: Mapping[int, object]) -> float | None:
        """When the next one is due that is not under way."""
        sql = "SELECT number, due_at FROM delivery ORDER BY due_at LIMIT ?"
        rows = self._sql.execute(sql, (1 + len(under_way),))
        return next((float(row["due_at"]) for row in rows if row["number"] not in under_way), None)

    def is_untried(self, number: int) -> bool:
        """Whether it has not been sent yet."""
        sql = "SELECT 1 FROM delivery WHERE number = ? AND attempts = 0"
        return self._sql.execute(sql, (number,)).fetchone() is not None

    def taken(self, number: int) -> None:
        """It has arrived."""
        self._sql.execute("DELETE FROM delivery WHERE number = ?", (number,))

    def put_off(self, each: Delivery, due_at: float) -> None:
        """It has not."""
        sql = "UPDATE delivery SET attempts = attempts + 1, due_at = ? WHERE number = ?"
        self._sql.execute(sql, (due_at, each.number))


class Sender:
    """Brings the messages to one address."""

    def __init__(self, url: str, secrets: Sequence[str], outbox: Outbox, clock: Clock, bell: Bell) -> None:
        self._url, self._secrets = url, secrets
        self._outbox, self._clock, self._bell = outbox, clock, bell
        self._under_way: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """For as long as the process lives."""
        timeout = ClientTimeout(total=_TIMEOUT_S)
        async with ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            while True:
                free = _MOST_AT_ONCE - len(self._under_way)
                for each in self._outbox.due(self._clock.now(), free, self._under_way):
                    self._under_way[each.number] = group.create_task(self._bring(session, each))
                is_full = len(self._under_way) >= _MOST_AT_ONCE
                await self._bell.wait(None if is_full else self._outbox.next_at(self._under_way))

    async def until_tried(self, numbers: Sequence[int]) -> None:
        """Waits until these messages have been sent, so that they come before an answer."""
        while any(map(self._outbox.is_untried, numbers)):
            await self._bell.wait(None)

    async def _bring(self, session: ClientSession, each: Delivery) -> None:
        try:
            error = await self._post(session, each.body)
            if error is None:
                self._outbox.taken(each.number)
            else:
                log.warning("webhook %d, attempt %d: %s", each.number, each.attempts + 1, error)
                pause_s = backoff_s(each.attempts + 1, _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
                self._outbox.put_off(each, self._clock.now() + pause_s)
        finally:
            del self._under_way[each.number]
            self._bell.ring()

    async def _post(self, session: ClientSession, body: bytes) -> str | None:
        """Why it was not taken; None if it was."""
        headers = {"Content-Type": "application/json", **sign(body, self._secrets, time())}
        try:
            async with session.post(self._url, data=body, headers=headers) as answer:
                return None if answer.ok else f"it was answered by {answer.status}"
        except (ClientError, TimeoutError, OSError) as error:
            return repr(error)

