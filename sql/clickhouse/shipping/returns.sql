CREATE TABLE IF NOT EXISTS {table:Identifier} (
    order_id     UUID,
    return       UInt32,
    version      UInt64,
    status       LowCardinality(String),
    units        Int64,
    currency     LowCardinality(String),
    value_minor  Int64,
    is_restocked UInt8,
    reason       String,
    updated_at   DateTime64(6, 'UTC'),
    _topic       LowCardinality(String),
    _partition   UInt16,
    _offset      UInt64
) ENGINE = ReplacingMergeTree(version)
ORDER BY (order_id, return)
