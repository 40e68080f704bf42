-- The product as it was when the order was placed. Sorted by time, so that what is asked of a period reads no other, and
-- parts that were written one after the other need not be merged to fold doubles.
CREATE TABLE IF NOT EXISTS {table:Identifier} (
    order_id         UUID,
    line             UInt32,
    version          UInt64,
    customer_id      String,
    sku              String,
    name             String,
    department       LowCardinality(String),
    category         LowCardinality(String),
    brand            LowCardinality(String),
    quantity         Int64,
    unit_price_minor Int64,
    currency         LowCardinality(String),
    placed_at        DateTime64(6, 'UTC'),
    _topic           LowCardinality(String),
    _partition       UInt16,
    _offset          UInt64
) ENGINE = ReplacingMergeTree(version)
ORDER BY (placed_at, order_id, line)
