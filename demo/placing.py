"""Placing orders over HTTP as many customers at once, and waiting for what becomes of them."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from math import ceil
from random import uniform
from time import monotonic, sleep
from typing import NamedTuple

import orjson
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from demo.client import Answer, Client
from streams.engine.reader import Views

#: Requests that are under way at once, each on a connection of its own.
CLIENTS = 16
#: Seconds for which a request is repeated while the services are away or busy.
PATIENCE_S = 60.0
#: Seconds from the first order on in which a product that orders do not know may still be on its way to them.
PRICES_WITHIN_S = 120.0
#: Orders asked for at once, and seconds between two looks, while waiting for them to be final.
AT_ONCE, LOOK_S = 500, 0.05
#: Seconds without any order becoming final, after which those that are left are given up.
STUCK_S = 60.0

#: The card that pays for all: docs/payments.md has the others.
CARD = "tok_approved"
#: What an order waits in; what becomes of it after that is somebody's decision, and counts as its outcome.
_WAITING = ("placed", "reserved", "undoing")

_BUSY = {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}


class LoadFailed(Exception):
    """The load could not be carried out: the text says which request or orders, and what was answered."""


class Order(NamedTuple):
    """An order to place. However often it is sent, `key` lets it be placed once."""

    key: str
    body: bytes


def order(key: str, customer_id: str, lines: Iterable[tuple[str, int]], card: str | None = CARD) -> Order:
    """An order from lines of sku and quantity, paid for by the card of this token. Without one it stays reserved."""
    named = [{"sku": sku, "quantity": quantity} for sku, quantity in lines]
    return Order(key, orjson.dumps({"customer_id": customer_id, "lines": named, "card_token": card}))


@dataclass
class Tally:
    """What came back so far: ids of accepted orders, refused ones by reason, seconds until each answer.

    `read_s` are the seconds that reading took of those orders that were read right after they had been accepted.
    """

    accepted: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    http_s: list[float] = field(default_factory=list)
    read_s: list[float] = field(default_factory=list)


#: Returns when the next order may be sent.
Pace = Callable[[], Awaitable[None]]
#: Hears the id and the `placed_at` of every accepted order.
OnAccepted = Callable[[str, str], None]


async def at_once() -> None:
    """The pace of as fast as possible."""


def steadily(per_s: float) -> Pace:
    """A pace of so many a second, made up for when it was held up."""
    started = monotonic()
    numbers = count()

    async def wait() -> None:
        due = started + next(numbers) / per_s
        if (early_s := due - monotonic()) > 0:
            await asyncio.sleep(early_s)

    return wait


async def place(
    address: str,
    orders: Iterator[Order],
    tally: Tally,
    pace: Pace = at_once,
    on_accepted: OnAccepted = lambda order_id, placed_at: None,
    read_every: int = 0,
) -> None:
    """Places orders with CLIENTS at once until there are no more. Raises LoadFailed.

    Every so many accepted orders, if any, one is read at once, with the token that its answer brought.
    """
    prices_until = monotonic() + PRICES_WITHIN_S
    try:
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(_be_a_client(address, orders, tally, pace, on_accepted, prices_until, read_every))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _be_a_client(
    address: str,
    orders: Iterator[Order],
    tally: Tally,
    pace: Pace,
    on_accepted: OnAccepted,
    prices_until: float,
    read_every: int,
) -> None:
    async with Client(address) as client:
        for next_order in orders:
            await pace()
            answer = await place_one(client, next_order, prices_until)
            tally.http_s.append(answer.seconds)
            body = answer.json()
            if answer.status == HTTPStatus.CREATED:
                tally.accepted.append(body["id"])
                on_accepted(body["id"], body["placed_at"])
                if read_every and len(tally.accepted) % read_every == 0:
                    tally.read_s.append(await _read(client, body["id"], answer.token or ""))
            else:
                tally.refused[f"{answer.status}: {body['detail']}"] += 1


async def _read(client: Client, order_id: str, token: str) -> float:
    """Seconds until an order that has just been accepted is read from its view. Raises LoadFailed."""
    path, headers = f"/v1/orders/{order_id}", {"Marea-Token": token, "Prefer": "wait=10"}
    began = monotonic()
    answer = await patiently(f"GET {path}", lambda: client.get(path, headers))
    if answer.status != HTTPStatus.OK:
        raise LoadFailed(f"GET {path}: it was accepted, and is not there: {answer.status}")
    return monotonic() - began


async def place_one(client: Client, next_order: Order, prices_until: float) -> Answer:
    """Sends an order, again while orders do not know its products, which they may not until then. Raises LoadFailed."""
    while True:
        answer = await post(client, "/v1/orders", next_order.body, {"Idempotency-Key": next_order.key})
        if not _is_unpriced(answer) or monotonic() > prices_until:
            return answer
        await asyncio.sleep(uniform(0.02, 0.2))


async def post(client: Client, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
    """Sends what may safely be sent twice, again and again while nobody can answer. Raises LoadFailed as `patiently`."""
    return await patiently(f"POST {path}", lambda: client.post(path, body, headers or {}))


async def patiently(what: str, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Asks again and again while nobody can answer.

    Raises LoadFailed when that takes longer than PATIENCE_S, or when the answer says that the stack is at fault.
    """
    give_up = monotonic() + PATIENCE_S
    for attempt in count():
        try:
            answer = await ask()
            if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                return answer
            problem = f"{answer.status} {answer.body.decode(errors='replace')[:200]}"
            if answer.status not in _BUSY:
                raise LoadFailed(f"{what}: {problem}")
        except OSError as error:
            problem = str(error) or type(error).__name__
        if monotonic() > give_up:
            raise LoadFailed(f"{what}: no answer within {PATIENCE_S:.0f} s: {problem}")
        await asyncio.sleep(uniform(0, min(1.0, 0.05 * 2**attempt)))
    raise AssertionError("count() has no end")


def _is_unpriced(answer: Answer) -> bool:
    """Whether the only fault is with products: orders may not have heard of them yet."""
    if answer.status != HTTPStatus.UNPROCESSABLE_ENTITY:
        return False
    errors = answer.json().get("errors", [])
    return bool(errors) and all(error["field"].endswith(".sku") for error in errors)


def await_final(
    views: Views, order_ids: Sequence[str], on_progress: Callable[[int], None] = lambda final: None
) -> Counter[str]:
    """Waits until the `order` view has every order confirmed, or past that, rejected or cancelled; gives how many of each.

    `on_progress` hears how many are final. Raises LoadFailed when none becomes final for STUCK_S.
    """
    statuses: Counter[str] = Counter()
    waiting = list(order_ids)
    progressed = monotonic()
    while waiting:
        left = _not_final(views, waiting, statuses)
        if len(left) < len(waiting):
            progressed = monotonic()
        elif monotonic() - progressed > STUCK_S:
            raise LoadFailed(
                f"{len(left)} accepted orders are neither confirmed, rejected nor cancelled, and for {STUCK_S:.0f} s none has"
                f" become so: see `./marea status`. The first of them: {', '.join(left[:3])}"
            )
        waiting = left
        on_progress(len(order_ids) - len(left))
        if waiting:
            sleep(LOOK_S)
    return statuses


def _not_final(views: Views, waiting: Sequence[str], statuses: Counter[str]) -> list[str]:
    """Counts those that are final by status, and gives the others."""
    left: list[str] = []
    for start in range(0, len(waiting), AT_ONCE):
        batch = waiting[start : start + AT_ONCE]
        unfinal = []
        for order_id, status in zip(batch, _statuses(views, batch), strict=True):
            if status in _WAITING:
                unfinal.append(order_id)
            else:
                statuses[status] += 1
        left += unfinal
        if len(unfinal) == len(batch):
            # Orders become final about in the order in which they were placed.
            return left + list(waiting[start + AT_ONCE :])
    return left


def _statuses(views: Views, order_ids: Sequence[str]) -> list[str]:
    try:
        rows = views.many("order", order_ids)
    except (RedisConnectionError, RedisTimeoutError):
        # While Redis is away we know of none that it is final.
        return ["placed"] * len(order_ids)
    return [orjson.loads(row)["status"] if row else "placed" for row in rows]


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of the values does not exceed; None of none."""
    ordered = sorted(values)
    return round(ordered[max(0, ceil(share * len(ordered)) - 1)], 2) if ordered else None
