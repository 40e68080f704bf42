-- Every change of a payment: what was done for how much, or refused and why. Sums are those of the payment after it.
CREATE TABLE IF NOT EXISTS {table:Identifier} (
    order_id       UUID,
    version        UInt64,
    what           LowCardinality(String),
    status         LowCardinality(String),
    currency       LowCardinality(String),
    amount_minor   Int64,
    code           LowCardinality(String),
    captured_minor Int64,
    refunded_minor Int64,
    occurred_at    DateTime64(6, 'UTC'),
    _topic         LowCardinality(String),
    _partition     UInt16,
    _offset        UInt64
) ENGINE = ReplacingMergeTree(version)
ORDER BY (occurred_at, order_id, version)
