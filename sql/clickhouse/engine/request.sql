-- What operators want of parked events; the worker that owns the partition carries it out and sets `gone`.
CREATE TABLE IF NOT EXISTS request (
    id         String,
    consumer   LowCardinality(String),
    _partition UInt16,
    action     LowCardinality(String),
    key        String,
    reason     String,
    _offset    Int64,
    gone       UInt8 DEFAULT 0
) ENGINE = ReplacingMergeTree(gone)
ORDER BY id
