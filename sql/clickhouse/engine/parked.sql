-- Events that a table could not take, and those that wait behind them. The events themselves stay in their topic.
CREATE TABLE IF NOT EXISTS parked (
    generation LowCardinality(String),
    _topic     LowCardinality(String),
    _partition UInt16,
    _offset    UInt64,
    key        String,
    reason     String,
    parked_at  DateTime64(6, 'UTC') DEFAULT now64(6)
) ENGINE = ReplacingMergeTree
ORDER BY (generation, _partition, _offset)
