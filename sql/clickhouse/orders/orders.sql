CREATE TABLE IF NOT EXISTS {table:Identifier} (
    order_id           UUID,
    version            UInt64,
    customer_id        String,
    status             LowCardinality(String),
    reason             String,
    currency           LowCardinality(String),
    total_minor        Int64,
    due_minor          Int64,
    cancelled_minor    Int64,
    lost_minor         Int64,
    returned_minor     Int64,
    goodwill_minor     Int64,
    credit_given_minor Int64,
    credit_got_minor   Int64,
    line_count         UInt32,
    placed_at          DateTime64(6, 'UTC'),
    updated_at         DateTime64(6, 'UTC'),
    _topic             LowCardinality(String),
    _partition         UInt16,
    _offset            UInt64
) ENGINE = ReplacingMergeTree(version)
ORDER BY (placed_at, order_id)
