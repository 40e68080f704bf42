"""A shop for tests: products, stock and orders through the HTTP API, and conditions to wait for."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import requests
from tenacity import Retrying, retry_if_exception_type, retry_if_result, stop_after_delay, wait_exponential

from demo.placing import CARD
from kernel import settings

PATIENCE_S = 60.0
FINAL = ("confirmed", "rejected", "cancelled", "completed")


def eventually(condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """The first true value of `condition`, asked again and again; raises when there is none in time."""
    return Retrying(
        retry=retry_if_result(lambda value: not value) | retry_if_exception_type(requests.ConnectionError),
        stop=stop_after_delay(patience_s),
        wait=wait_exponential(0.02, max=0.1),
    )(condition)


class Shop:
    """The front door of the stack under test. Every shop has products of its own."""

    def __init__(self) -> None:
        self.url = settings.setting("API_URL")
        self.name = uuid4().hex[:12]
        self.http = requests.Session()

    def post(self, path: str, body: Any, **headers: str) -> requests.Response:
        """With a key of its own, unless the headers have one."""
        names = {"Idempotency-Key": str(uuid4())} | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(f"{self.url}/v1{path}", json=body, headers=names, timeout=30)

    def get(self, path: str) -> requests.Response:
        return self.http.get(f"{self.url}/v1{path}", timeout=30)

    def product(self, sku: str, price_minor: int = 150) -> dict[str, Any]:
        return {
            "sku": f"{sku}-{self.name}",
            "name": f"A {sku}",
            "department": "GROCERY",
            "category": "DAIRY",
            "brand": "National",
            "price_minor": price_minor,
            "currency": "USD",
        }

    def stocked(self, sku: str, quantity: int, price_minor: int = 150) -> str:
        """A product that can be ordered, with stock; gives its sku."""
        product = self.product(sku, price_minor)
        created = self.post("/products", product)
        assert created.status_code == 201, created.text
        sku = product["sku"]
        assert self.post(f"/stock/{sku}/receipts", {"quantity": quantity}).ok
        eventually(lambda: self.get(f"/stock/{sku}").ok)
        # Orders know the product once they take an order for it; one this large is rejected, or leaves enough.
        eventually(lambda: self.order([(sku, 100_000)]).ok)
        return sku

    def order(
        self,
        lines: Sequence[tuple[str, int]],
        key: str | None = None,
        customer: str | None = None,
        card: str | None = CARD,
    ) -> requests.Response:
        body = {
            "customer_id": customer or self.name,
            "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines],
            "card_token": card,
        }
        return self.post("/orders", body, Idempotency_Key=key or str(uuid4()))

    def settled(self, order_id: str) -> dict[str, Any]:
        """The order as it is shown, once it is confirmed, or in a final state."""

        def final() -> dict[str, Any] | None:
            answer = self.get(f"/orders/{order_id}")
            order: dict[str, Any] = answer.json()
            return order if answer.ok and order["status"] in FINAL else None

        order: dict[str, Any] = eventually(final)
        return order


def at_once(work: Callable[[int], Any], times: int) -> list[Any]:
    """The results of `work(0)`, `work(1)`, ... run by as many threads."""
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(work, range(times)))


def lines_of(response: requests.Response) -> Iterator[str]:
    """The lines of a stream as they come."""
    for line in response.iter_lines(chunk_size=1, decode_unicode=True):
        yield str(line)
