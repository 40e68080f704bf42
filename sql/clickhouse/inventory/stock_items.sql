CREATE TABLE IF NOT EXISTS {table:Identifier} (
    sku        String,
    version    UInt64,
    on_hand    Int64,
    reserved   Int64,
    updated_at DateTime64(6, 'UTC'),
    _topic     LowCardinality(String),
    _partition UInt16,
    _offset    UInt64
) ENGINE = ReplacingMergeTree(version)
ORDER BY sku
