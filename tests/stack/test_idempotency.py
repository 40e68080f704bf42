"""Commands count once and reads see them, on the whole stack under load, whatever is killed meanwhile."""

import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from itertools import count
from threading import Event
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
import pytest
import requests

from kernel import settings
from local.stack import Stack
from ops.databases import admin
from ops.old import forget_old
from ops.rebuild import rebuild
from tests.stack.buyers import buying
from tests.stack.shop import Shop, at_once, eventually

RECEIPT = {"quantity": 3}


@pytest.fixture(scope="module", autouse=True)
def _load(stack: Stack) -> Iterator[None]:
    shop = Shop()
    with buying([shop.stocked(f"item{n}", 1_000_000) for n in range(5)]):
        yield


def on_hand(sku: str) -> int:
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute("SELECT on_hand FROM inventory.stock WHERE sku = %s", (sku,))
        [units] = cursor.fetchone() or (0,)
        return int(units)


def patiently(send: Callable[[], requests.Response]) -> requests.Response:
    """The first answer that is one, however often it has to be asked for."""

    def answered() -> requests.Response | None:
        answer = send()
        return None if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR else answer

    answer: requests.Response = eventually(answered)
    return answer


def test_repeats_at_the_same_time_count_once_and_have_one_answer() -> None:
    shop, key = Shop(), str(uuid4())
    sku = f"milk-{shop.name}"
    answers = at_once(lambda _: patiently(lambda: Shop().post(f"/stock/{sku}/receipts", RECEIPT, Idempotency_Key=key)), 30)
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert on_hand(sku) == 3


def test_a_command_whose_answer_was_never_read_is_answered_when_it_is_repeated() -> None:
    shop, key = Shop(), str(uuid4())
    sku = f"milk-{shop.name}"
    parts, body = urlsplit(shop.url), orjson.dumps(RECEIPT)
    head = (
        f"POST /v1/stock/{sku}/receipts HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
        connection.sendall(head.encode() + body)
        eventually(lambda: on_hand(sku) == 3)
    answer = shop.post(f"/stock/{sku}/receipts", RECEIPT, Idempotency_Key=key)
    assert (answer.status_code, answer.json()["on_hand"], answer.headers["ETag"]) == (200, 3, '"1"')


class Storekeeper:
    """Receives units of one product without pause, each command until it is answered, and reads what it has written."""

    def __init__(self, name: str) -> None:
        self.sku = name
        self.received = 0

    def work(self, is_over: Callable[[int], bool]) -> None:
        shop = Shop()
        for number in count():
            if is_over(number):
                return
            path, key = f"/stock/{self.sku}/receipts", f"{self.sku}-{number}"
            answer = patiently(partial(shop.post, path, RECEIPT, Idempotency_Key=key))
            assert answer.status_code == HTTPStatus.OK, answer.text
            self.received += 1
            self._read(shop, answer)

    def _read(self, shop: Shop, written: requests.Response) -> None:
        headers = {"Marea-Token": written.headers["Marea-Token"], "Prefer": "wait=10"}
        url = f"{shop.url}/v1/stock/{self.sku}"
        seen = patiently(lambda: shop.http.get(url, headers=headers, timeout=30))
        assert seen.json()["version"] >= written.json()["version"], seen.text


def all_have_received(keepers: Iterable[Storekeeper], commands: int) -> bool:
    return all(keeper.received >= commands for keeper in keepers)


@contextmanager
def storekeepers(number: int, is_over: Callable[[int], bool]) -> Iterator[list[Storekeeper]]:
    """So many at work, each until it is over; whatever one of them finds is raised."""
    name = uuid4().hex[:12]
    keepers = [Storekeeper(f"{name}-{each}") for each in range(number)]
    with ThreadPoolExecutor(number) as pool:
        at_work = [pool.submit(keeper.work, is_over) for keeper in keepers]
        yield keepers
        for each in at_work:
            each.result()
    assert {keeper.sku: on_hand(keeper.sku) for keeper in keepers} == {
        keeper.sku: keeper.received * RECEIPT["quantity"] for keeper in keepers
    }


def test_a_thousand_writes_are_each_read_at_once_through_a_kill_and_a_switch_of_generations(stack: Stack) -> None:
    with storekeepers(5, lambda number: number == 200) as keepers:
        eventually(partial(all_have_received, keepers, 20))
        stack.kill("worker-1")
        stack.wait_ready("worker-1")
        rebuild("stock")
    assert sum(keeper.received for keeper in keepers) == 1_000


@pytest.mark.parametrize("victim", ["inventory", "postgresql"])
def test_commands_count_once_whatever_is_killed_between_their_commit_and_their_answer(stack: Stack, victim: str) -> None:
    over = Event()
    with storekeepers(5, lambda _: over.is_set()) as keepers:
        try:
            for enough in (20, 40):
                eventually(partial(all_have_received, keepers, enough))
                stack.kill(victim)
                stack.wait_ready(victim)
            eventually(partial(all_have_received, keepers, 60))
        finally:
            over.set()


def test_an_answer_is_kept_for_a_day() -> None:
    shop, key = Shop(), str(uuid4())
    sku = f"milk-{shop.name}"

    def receive() -> Any:
        return shop.post(f"/stock/{sku}/receipts", RECEIPT, Idempotency_Key=key).json()["on_hand"]

    now = datetime.now(UTC)
    assert receive() == 3
    forget_old(now + timedelta(hours=23))
    assert receive() == 3
    forget_old(now + timedelta(hours=25))
    assert receive() == 6
