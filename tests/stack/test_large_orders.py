"""What is accepted can be carried: the largest order that the API takes, while others go on buying."""

from collections.abc import Callable
from typing import Any

from connectors.relay import connector_status
from kernel import settings
from local.stack import Stack
from ops.databases import databases
from ops.verify import verify
from tests.stack.buyers import buying
from tests.stack.shop import Shop, eventually

LINES = 500
#: As long as a text may be, in a character of three bytes.
LONG = "\N{EURO SIGN}" * 200


def in_parts(post: Callable[[list[Any]], Any], items: list[Any]) -> None:
    for first in range(0, len(items), 100):
        answer = post(items[first : first + 100])
        assert answer.ok, answer.text
        assert all(each["status"] < 300 for each in answer.json()["results"])


def test_an_order_of_500_lines_with_the_longest_texts_stops_nobody(stack: Stack) -> None:
    shop, [database] = Shop(), databases()
    texts = {"name": LONG, "department": LONG, "category": LONG, "brand": LONG}
    products = [shop.product(f"long{n}") | texts for n in range(LINES)]
    in_parts(lambda part: shop.post("/products:batch", {"products": part}), products)
    receipts = [{"sku": product["sku"], "quantity": 10} for product in products]
    in_parts(lambda part: shop.post("/stock:receive", {"receipts": part}), receipts)
    order = [(product["sku"], 1) for product in products]
    skus = [shop.stocked(f"short{n}", 1_000_000) for n in range(3)]
    with buying(skus) as buyers:
        buyers.await_more(10)
        # Refused for as long as orders do not know all of the products.
        accepted = eventually(lambda: answer if (answer := shop.order(order)).status_code == 201 else None)
        buyers.await_more(25)
    assert shop.settled(accepted.json()["id"])["status"] == "confirmed"
    buyers.check()
    assert connector_status(settings.connect_url(), database).state == "RUNNING"
    assert verify().differences == []
