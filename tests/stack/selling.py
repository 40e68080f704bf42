"""Orders that are paid for and sent, by hand."""

from typing import Any

from kernel import settings
from tests.stack.shop import Shop, eventually


class Seller:
    """A shop's customers with cards, and its staff."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def order(self, sku: str, card: str | None = "tok_approved", quantity: int = 2) -> str:
        """Places an order, and gives its id."""
        lines = [{"sku": sku, "quantity": quantity}]
        placed = self._shop.post("/orders", {"customer_id": self._shop.name, "lines": lines, "card_token": card})
        assert placed.ok, placed.text
        order_id: str = placed.json()["id"]
        return order_id

    def becomes(self, order_id: str, status: str) -> dict[str, Any]:
        """The order, once it has this status."""
        order: dict[str, Any] = eventually(
            lambda: order if (order := self._shop.get(f"/orders/{order_id}").json()).get("status") == status else None
        )
        return order

    def parcel(self, order_id: str, status: str) -> dict[str, Any]:
        """The order's first parcel, once it has this status."""

        def found() -> dict[str, Any] | None:
            answer = self._shop.get(f"/fulfilments/{order_id}")
            first: dict[str, Any] = answer.json()["shipments"][0] if answer.ok else {}
            return first if first.get("status") == status else None

        parcel: dict[str, Any] = eventually(found)
        return parcel

    def pack(self, order_id: str) -> None:
        """Staff packs the first parcel."""
        self.parcel(order_id, "planned")
        self._staff(f"/fulfilments/{order_id}/shipments/1/pack")

    def complete(self, sku: str) -> str:
        """An order from placing it to the door; gives its id."""
        order_id = self.order(sku)
        self.pack(order_id)
        eventually(lambda: self.parcel(order_id, "ready")["tracking"])
        self._staff(f"/fulfilments/{order_id}/shipments/1/dispatch")
        self.becomes(order_id, "completed")
        return order_id

    def give_back(self, order_id: str, sku: str) -> None:
        """The customer gives one unit back, and has its price again."""
        assert self._shop.post(f"/returns/{order_id}", {"lines": [{"sku": sku, "quantity": 1}]}).ok
        for step, body in (("approve", None), ("receive", None), ("accept", {"restock": True})):
            self._staff(f"/returns/{order_id}/1/{step}", body)

    def _staff(self, path: str, body: Any = None) -> None:
        done = self._shop.post(path, body, Authorization=f"Bearer {settings.setting('OPERATOR_KEY')}")
        assert done.ok, done.text
