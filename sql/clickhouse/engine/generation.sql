-- Every generation of a table that there is, with the fingerprint of the code that built it.
CREATE TABLE IF NOT EXISTS generation (
    name    LowCardinality(String),
    number  UInt32,
    code    LowCardinality(String),
    gone    UInt8 DEFAULT 0,
    made_at DateTime64(6, 'UTC') DEFAULT now64(6)
) ENGINE = ReplacingMergeTree(made_at)
ORDER BY (name, number)
