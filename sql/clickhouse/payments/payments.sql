CREATE TABLE IF NOT EXISTS {table:Identifier} (
    order_id          UUID,
    version           UInt64,
    customer_id       String,
    currency          LowCardinality(String),
    status            LowCardinality(String),
    reason            String,
    due_minor         Int64,
    authorized_minor  Int64,
    captured_minor    Int64,
    refunded_minor    Int64,
    written_off_minor Int64,
    operations        UInt32,
    declines          UInt32,
    cases             UInt32,
    updated_at        DateTime64(6, 'UTC'),
    _topic            LowCardinality(String),
    _partition        UInt16,
    _offset           UInt64
) ENGINE = ReplacingMergeTree(version)
ORDER BY order_id
