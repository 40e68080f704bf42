"""What this process saw of the prices last: orders are decided by that, and one round trip places them.

Whoever places an order looks, in the statement that does so, whether these are still the prices.
"""

from collections.abc import Collection, Mapping

from api.orders.placing import Price

#: The most prices that are remembered. One has some hundred bytes.
MOST = 20_000


class SeenPrices:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._prices: dict[str, Price] = {}

    def of(self, skus: Collection[str]) -> dict[str, Price] | None:
        """Those of all these products; None when it has not seen one of them."""
        found = {sku: price for sku in skus if (price := self._prices.get(sku))}
        return found if all(sku in found for sku in skus) else None

    def remember(self, prices: Mapping[str, Price]) -> None:
        """These are the latest ones."""
        if len(self._prices) + len(prices) > MOST:
            self._prices = {}
        self._prices.update(prices)
