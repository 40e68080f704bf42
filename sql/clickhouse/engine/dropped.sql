-- Events that an operator has dropped, and why: every generation of the table skips them. The first fact of each holds.
CREATE TABLE IF NOT EXISTS dropped (
    consumer   LowCardinality(String),
    _partition UInt16,
    _offset    UInt64,
    reason     String,
    dropped_at DateTime64(6, 'UTC') DEFAULT now64(6)
) ENGINE = MergeTree
ORDER BY (consumer, _partition, _offset)
