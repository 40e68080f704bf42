"""The shapes of the load: which orders are placed, in which order, for how long."""

from collections.abc import Iterator, Sequence
from itertools import count
from random import Random
from time import monotonic

from demo.baskets import Baskets
from demo.placing import CARD, Order, order

#: A customer and the sku and quantity of each line.
Content = tuple[str, Sequence[tuple[str, int]]]


def contents(baskets: Baskets, orders: int) -> dict[str, list[Content]]:
    """What the measured orders hold, by shape: two lines each, or what real baskets hold."""
    skus = [product.sku for product in baskets.products]
    return {
        "two_lines": two_lines(skus, orders),
        "baskets": [(basket.customer_id, basket.lines) for basket in baskets.baskets()],
    }


def two_lines(skus: Sequence[str], orders: int) -> list[Content]:
    """Orders of two products each, the same ones in every run."""
    random = Random(2017)
    return [(f"bench-{number}", [(sku, 1) for sku in random.sample(skus, 2)]) for number in range(orders)]


def repeated(contents: Sequence[Content], name: str, card: str | None = CARD) -> Iterator[Order]:
    """These orders again and again, each time with another key; without a card they are never paid for."""
    bodies = [order("", customer_id, lines, card).body for customer_id, lines in contents]
    for number in count():
        yield Order(f"{name}-{number}", bodies[number % len(bodies)])


def until(deadline: float, orders: Iterator[Order]) -> Iterator[Order]:
    """The orders that are asked for before `deadline`, in seconds of time.monotonic()."""
    while monotonic() < deadline:
        yield next(orders)
