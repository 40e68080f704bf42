-- Every change of an order's state: what it became, when, and why.
CREATE TABLE IF NOT EXISTS {table:Identifier} (
    order_id    UUID,
    version     UInt64,
    status      LowCardinality(String),
    reason      LowCardinality(String),
    currency    LowCardinality(String),
    total_minor Int64,
    due_minor   Int64,
    line_count  UInt32,
    placed_at   DateTime64(6, 'UTC'),
    occurred_at DateTime64(6, 'UTC'),
    _topic      LowCardinality(String),
    _partition  UInt16,
    _offset     UInt64
) ENGINE = ReplacingMergeTree(version)
ORDER BY (occurred_at, order_id, version)
