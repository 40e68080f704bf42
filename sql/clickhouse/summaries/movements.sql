-- How stock moved, by minute, kind and reason: as sales.sql, of the ledger of the warehouse.
CREATE MATERIALIZED VIEW movements_history REFRESH EVERY 1 HOUR (
    minute         DateTime('UTC'),
    kind           LowCardinality(String),
    reason         String,
    movements      UInt64,
    on_hand_delta  Int64,
    reserved_delta Int64,
    until          Date
) ENGINE = MergeTree
ORDER BY (minute, kind, reason) AS
SELECT
    toStartOfMinute(occurred_at) AS minute,
    kind,
    reason,
    count() AS movements,
    sum(on_hand_delta) AS on_hand_delta,
    sum(reserved_delta) AS reserved_delta,
    toDate(now('UTC')) AS until
FROM stock_movements
WHERE occurred_at < toStartOfDay(now('UTC'))
GROUP BY minute, kind, reason
SETTINGS max_threads = 1;

CREATE OR REPLACE VIEW movements AS
SELECT minute, kind, reason, movements, on_hand_delta, reserved_delta FROM movements_history
UNION ALL
SELECT
    toDateTime(toStartOfMinute(occurred_at), 'UTC') AS minute,
    kind,
    reason,
    count() AS movements,
    sum(on_hand_delta) AS on_hand_delta,
    sum(reserved_delta) AS reserved_delta
FROM stock_movements
WHERE occurred_at >= (SELECT toDateTime(max(until), 'UTC') FROM movements_history)
GROUP BY minute, kind, reason
