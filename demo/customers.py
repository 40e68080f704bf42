"""Customers of whom it is known what they do: change their minds, give back, exchange, pay with a card that is declined."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from time import monotonic
from typing import Any, NamedTuple

import orjson

from demo.client import Answer, Client
from demo.placing import CARD, PRICES_WITHIN_S, LoadFailed, order, place_one, post
from demo.staff import Staff
from streams.engine.reader import Views

#: What these customers buy: nobody else does, so that it is never sold out.
SKU, OTHER_SKU = "demo-mug", "demo-shirt"
#: Seconds between two looks at an order, and for which one may stay as it is.
LOOK_S, STUCK_S = 0.1, 60.0


class Shop(NamedTuple):
    """What these customers see: the front door, and the views behind it; `carrier` is told which parcels it is to lose."""

    address: str
    views: Views
    staff: Staff
    carrier_url: str
    carrier_key: str


class Customer:
    """One customer, with one order after the other. The names are the same in every run: on the same stack it finds what it has done."""

    def __init__(self, shop: Shop, client: Client, name: str) -> None:
        self._shop, self._client, self._name = shop, client, name

    async def place(self, card: str) -> str:
        """Buys three units, and gives the order's id."""
        wanted = order(f"{self._name}-order", self._name, [(SKU, 2), (OTHER_SKU, 1)], card)
        placed = self._check("/v1/orders", await place_one(self._client, wanted, monotonic() + PRICES_WITHIN_S))
        order_id: str = placed.json()["id"]
        self._shop.staff.take([order_id])
        return order_id

    async def cancel(self, order_id: str) -> None:
        """Takes all of it back."""
        await self._post(f"/v1/orders/{order_id}/cancel", {})

    async def cancel_one(self, order_id: str) -> None:
        """Takes one unit back, if it has not left the house."""
        await self._post(f"/v1/orders/{order_id}/cancellations", {"lines": [{"sku": SKU, "quantity": 1}]})

    async def give_back(self, order_id: str) -> None:
        """Wants to give one unit back."""
        await self._post(f"/v1/returns/{order_id}", {"lines": [{"sku": SKU, "quantity": 1}]})

    async def exchange(self, order_id: str) -> str:
        """Wants a shirt for a mug, and gives the exchange's id."""
        asked = {"order_id": order_id, "give_back": [{"sku": SKU, "quantity": 1}], "lines": [{"sku": OTHER_SKU, "quantity": 1}]}
        exchange = (await self._post("/v1/exchanges", {**asked, "card_token": CARD})).json()
        self._shop.staff.take([exchange["new_order_id"]])
        exchange_id: str = exchange["exchange_id"]
        return exchange_id

    async def pay_again(self, order_id: str) -> None:
        """Gives a good card for what is still to be paid."""
        await self._post(f"/v1/payments/{order_id}/card", {"card_token": CARD})

    async def have_lost(self, order_id: str) -> None:
        """Has the carrier lose the order's parcels."""
        script = {"prefix": f"{order_id}.", "script": {"scans": [{"what": "lost", "after_s": 1}]}}
        async with Client(self._shop.carrier_url) as carrier:
            headers = {"Authorization": f"Bearer {self._shop.carrier_key}"}
            answer = await post(carrier, "/scripts", orjson.dumps(script), headers)
            if answer.status != HTTPStatus.OK:
                raise LoadFailed(f"the carrier does not take a script: {answer.status}")

    async def until(self, view: str, key: str, is_so: Callable[[dict[str, Any]], bool]) -> None:
        """Waits until a view's row is so. Raises LoadFailed."""
        give_up = monotonic() + STUCK_S
        while True:
            [row] = self._shop.views.many(view, [key])
            if row and is_so(orjson.loads(row)):
                return
            if monotonic() > give_up:
                raise LoadFailed(f"{self._name}: {view} {key} stays as it is: see `./marea status`: {row!r}")
            await asyncio.sleep(LOOK_S)

    async def becomes(self, order_id: str, *statuses: str) -> None:
        """Waits until the order has one of these."""
        await self.until("order", order_id, lambda row: row["status"] in statuses)

    async def _post(self, path: str, body: Mapping[str, Any]) -> Answer:
        key = f"{self._name}-{path.replace('/', '-')}"
        return self._check(path, await post(self._client, path, orjson.dumps(body), {"Idempotency-Key": key}))

    def _check(self, path: str, answer: Answer) -> Answer:
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise LoadFailed(f"{self._name}: POST {path}: {answer.status} {answer.body.decode(errors='replace')[:300]}")
        return answer


async def changes_his_mind(customer: Customer) -> None:
    """The provider says yes three seconds later: what it holds is let go."""
    order_id = await customer.place("tok_slow")
    await customer.cancel(order_id)
    await customer.becomes(order_id, "cancelled")


async def waits_for_a_slow_provider(customer: Customer) -> None:
    """It answers after the call has been given up; what has become of it is looked up."""
    order_id = await customer.place("tok_too_slow")
    await customer.becomes(order_id, "confirmed", "completed")


async def takes_one_back(customer: Customer) -> None:
    """Before it is packed, or too late."""
    order_id = await customer.place(CARD)
    await customer.becomes(order_id, "confirmed", "completed")
    await customer.cancel_one(order_id)
    await customer.becomes(order_id, "completed")


async def gives_one_back(customer: Customer) -> None:
    """And has the money for it."""
    order_id = await customer.place(CARD)
    await customer.becomes(order_id, "completed")
    await customer.give_back(order_id)
    await customer.until("order_returns", order_id, lambda row: all(each["status"] == "refunded" for each in row["returns"]))


async def exchanges_one(customer: Customer) -> None:
    """And pays what the other product costs more."""
    order_id = await customer.place(CARD)
    await customer.becomes(order_id, "completed")
    exchange_id = await customer.exchange(order_id)
    await customer.until("exchange", exchange_id, lambda row: row["step"] == "finished")


async def never_gets_it(customer: Customer) -> None:
    """The carrier loses the parcel: the money comes back."""
    order_id = await customer.place(CARD)
    await customer.have_lost(order_id)
    await customer.becomes(order_id, "completed")


async def pays_with_another_card(customer: Customer) -> None:
    """The first one is good until the parcel is packed."""
    order_id = await customer.place("tok_capture_declined")
    await customer.until("fulfilment", order_id, _was_asked_for)
    await customer.pay_again(order_id)
    await customer.becomes(order_id, "completed")


async def does_not_pay(customer: Customer) -> None:
    """The parcel stays in the house, and somebody has to see to it."""
    order_id = await customer.place("tok_capture_declined")
    await customer.until("fulfilment", order_id, _was_asked_for)


#: What these customers do, and how many of each there are.
LIVES: Mapping[Callable[[Customer], Awaitable[None]], int] = {
    changes_his_mind: 6,
    waits_for_a_slow_provider: 2,
    takes_one_back: 5,
    gives_one_back: 6,
    exchanges_one: 2,
    never_gets_it: 3,
    pays_with_another_card: 3,
    does_not_pay: 2,
}


async def live(shop: Shop) -> None:
    """All of them at once, to the end. Raises LoadFailed."""
    try:
        async with asyncio.TaskGroup() as lives:
            for life, number in LIVES.items():
                for each in range(number):
                    lives.create_task(_live(shop, life, f"{life.__name__.replace('_', '-')}-{each}"))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _live(shop: Shop, life: Callable[[Customer], Awaitable[None]], name: str) -> None:
    async with Client(shop.address) as client:
        await life(Customer(shop, client, name))


def _was_asked_for(row: dict[str, Any]) -> bool:
    """Each parcel is held, as its card was declined; or it was, when the demo was there before."""
    return all(each["status"] not in ("planned", "packed") for each in row["shipments"])
