-- Events that an operator has dropped: every generation of the table skips them.
CREATE TABLE IF NOT EXISTS dropped (
    consumer   LowCardinality(String),
    _partition UInt16,
    _offset    UInt64
) ENGINE = ReplacingMergeTree
ORDER BY (consumer, _partition, _offset)
