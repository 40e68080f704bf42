-- Every change of a stock item: by how much, why, and what was there afterwards.
CREATE TABLE IF NOT EXISTS {table:Identifier} (
    sku            String,
    version        UInt64,
    kind           LowCardinality(String),
    order_id       String,
    reason         String,
    on_hand_delta  Int64,
    reserved_delta Int64,
    on_hand        Int64,
    reserved       Int64,
    occurred_at    DateTime64(6, 'UTC'),
    _topic         LowCardinality(String),
    _partition     UInt16,
    _offset        UInt64
) ENGINE = ReplacingMergeTree(version)
ORDER BY (occurred_at, sku, version)
