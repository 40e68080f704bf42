-- The next offset that a generation of a table needs in each partition; never ahead of the table's rows. The offsets
-- in the rows say the rest, so that finding the position is no scan of the table.
CREATE TABLE IF NOT EXISTS position (
    generation   LowCardinality(String),
    _partition   UInt16,
    next_offset  UInt64,
    leader_epoch Int32
) ENGINE = ReplacingMergeTree(next_offset)
ORDER BY (generation, _partition)
