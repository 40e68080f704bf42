-- Every generation of a table, with the fingerprint of each code that has written to it. `gone` is 1 once it is deleted;
-- its rows stay, because no number is used twice.
CREATE TABLE IF NOT EXISTS generation (
    name    LowCardinality(String),
    number  UInt32,
    code    LowCardinality(String),
    gone    UInt8 DEFAULT 0
) ENGINE = ReplacingMergeTree(gone)
ORDER BY (name, number, code)
