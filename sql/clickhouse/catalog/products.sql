CREATE TABLE IF NOT EXISTS {table:Identifier} (
    sku         String,
    version     UInt64,
    name        String,
    department  LowCardinality(String),
    category    LowCardinality(String),
    brand       LowCardinality(String),
    price_minor Int64,
    currency    LowCardinality(String),
    archived    Bool,
    updated_at  DateTime64(6, 'UTC'),
    _topic      LowCardinality(String),
    _partition  UInt16,
    _offset     UInt64
) ENGINE = ReplacingMergeTree(version)
ORDER BY sku
