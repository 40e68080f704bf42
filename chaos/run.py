"""One run: orders are placed without pause while programs are hit; then everything has to come right by itself."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from threading import Event
from time import monotonic
from uuid import uuid4

from api.services import services
from chaos.blows import Say, carry_out
from chaos.schedule import schedule
from demo.baskets import Product
from demo.load import stock_up
from demo.placing import Order, Tally, await_final, order, place, steadily
from kernel import settings
from local.stack import Stack
from ops.positions import parked
from ops.states import read_rows
from ops.verify import Difference, verify
from schemas.order import TOPIC
from streams.engine.reader import Views

#: Orders a second, as far as the machine carries them: what is left of its time is for coming back.
RATE_PER_S = 50.0
#: Products, and units of each. Every SCARCE-th order wants more than there are, and is rejected.
PRODUCTS, UNITS, TOO_MANY, SCARCE = 50, 50_000, 100_000, 10
CUSTOMERS = 100

_CUSTOMERS = "SELECT id, state->>'customer_id' FROM ({}) AS states"


@dataclass
class Outcome:
    """What became of a run.

    `refused` orders were not accepted, by reason. `unanswered` are in PostgreSQL, and nobody was told. `statuses` are
    those in the `order` view. `settled_s` is how long it took, once everything could run again, until every accepted
    order was final. `parked` counts events that were not parked before, by consumer; `differences` are verify's.
    """

    seed: int
    strikes: list[str]
    accepted: int
    refused: dict[str, int]
    unanswered: int
    statuses: dict[str, int]
    settled_s: float
    parked: dict[str, int]
    differing: dict[str, int]
    differences: list[Difference]

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, doubled or left behind."""
        return not (self.refused or self.unanswered or self.parked or self.differing)


def run(stack: Stack, seed: int, seconds: float, say: Say) -> Outcome:
    """Hits the programs of a stack that is up, whose settings are in the environment; `say` hears what is hit.

    Raises LoadFailed when orders are not answered or do not become final, NotStarted when a program does not come
    back, and what verify raises.
    """
    views = Views(settings.redis_url(), settings.partitions())
    before = parked()
    name = f"chaos-{uuid4().hex[:12]}"
    products = [_product(f"{name}-{number}") for number in range(PRODUCTS)]
    asyncio.run(stock_up(settings.setting("API_URL"), views, products, UNITS))
    tally = Tally()
    struck = asyncio.run(_strike(stack, seed, seconds, _orders(name, products, Random(seed)), tally, say))
    continued = monotonic()
    for program in stack.programs:
        stack.wait_ready(program)
    statuses = await_final(views, tally.accepted)
    settled_s = monotonic() - continued
    verified = verify()
    return Outcome(
        seed=seed,
        strikes=struck,
        accepted=len(tally.accepted),
        refused=dict(tally.refused),
        unanswered=len(_placed(name) - {*tally.accepted}),
        statuses=dict(statuses),
        settled_s=round(settled_s, 1),
        parked=dict(Counter(verified.parked) - Counter(before)),
        differing=verified.differing,
        differences=verified.differences,
    )


async def _strike(
    stack: Stack, seed: int, seconds: float, orders: Iterator[Order], tally: Tally, say: Say
) -> list[str]:
    """Places orders until all strikes are over; gives what was hit when."""
    struck: list[str] = []
    over = Event()

    def hear(at_s: float, what: str) -> None:
        struck.append(f"{at_s:6.1f} s  {what}")
        say(at_s, what)

    async def strike() -> None:
        await carry_out(stack, schedule(seed, [*stack.programs], seconds), hear)
        over.set()

    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(
                place(settings.setting("API_URL"), _while_not(over, orders), tally, steadily(RATE_PER_S))
            )
            both.create_task(strike())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return struck


def _while_not(over: Event, orders: Iterator[Order]) -> Iterator[Order]:
    while not over.is_set():
        yield next(orders)


def _orders(name: str, products: list[Product], random: Random) -> Iterator[Order]:
    number = 0
    while True:
        number += 1
        quantity = 1 if number % SCARCE else TOO_MANY
        lines = [(product.sku, quantity) for product in random.sample(products, 2)]
        yield order(f"{name}-{number}", f"{name}-{number % CUSTOMERS}", lines)


def _product(sku: str) -> Product:
    return Product(sku, f"A {sku}", "GROCERY", "DAIRY", "National", 150)


def _placed(name: str) -> set[str]:
    """The orders of this run that their service has."""
    [owner] = [each for each in services() if TOPIC in each.states]
    with read_rows(owner.name, _CUSTOMERS.format(owner.states[TOPIC])) as rows:
        return {order_id for order_id, customer in rows if customer.startswith(f"{name}-")}
