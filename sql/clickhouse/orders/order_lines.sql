-- The product as it was when the order was placed.
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
ORDER BY (order_id, line)
