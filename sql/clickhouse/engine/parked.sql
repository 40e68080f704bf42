-- Events that a table could not take, and those that wait behind them. The events themselves stay in their topic.
-- `gone` is 1 once an event is parked no longer. `code` is the fingerprint of the code that tried last.
CREATE TABLE IF NOT EXISTS parked (
    generation LowCardinality(String),
    _topic     LowCardinality(String),
    _partition UInt16,
    _offset    UInt64,
    key        String,
    version    UInt64,
    cause      LowCardinality(String),
    reason     String,
    code       LowCardinality(String),
    since      DateTime64(6, 'UTC'),
    gone       UInt8 DEFAULT 0,
    written_at DateTime64(6, 'UTC') DEFAULT now64(6)
) ENGINE = ReplacingMergeTree(written_at)
ORDER BY (generation, _partition, _offset)
