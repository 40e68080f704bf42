-- What was ordered by day and product group, and what became of it. Joining a year's order lines with their orders takes
-- seconds, and days that are over hardly change any more: they are added up every hour, from all there is, so that what is
-- written twice, late, or by a rebuild counts once. Days from `until` on are added up when somebody asks.
CREATE MATERIALIZED VIEW sales_history REFRESH EVERY 1 HOUR (
    day          Date,
    department   LowCardinality(String),
    category     LowCardinality(String),
    brand        LowCardinality(String),
    currency     LowCardinality(String),
    status       LowCardinality(String),
    lines        UInt64,
    units        Int64,
    amount_minor Int64,
    until        Date
) ENGINE = MergeTree
ORDER BY (day, department, category, brand) AS
SELECT
    toDate(l.placed_at) AS day,
    l.department AS department,
    l.category AS category,
    l.brand AS brand,
    l.currency AS currency,
    o.status AS status,
    count() AS lines,
    sum(l.quantity) AS units,
    sum(l.quantity * l.unit_price_minor) AS amount_minor,
    toDate(now('UTC')) AS until
FROM order_lines AS l JOIN orders AS o ON l.order_id = o.order_id
WHERE l.placed_at < toStartOfDay(now('UTC')) AND o.placed_at < toStartOfDay(now('UTC'))
GROUP BY day, department, category, brand, currency, status
SETTINGS max_threads = 1;

CREATE OR REPLACE VIEW sales AS
SELECT day, department, category, brand, currency, status, lines, units, amount_minor FROM sales_history
UNION ALL
SELECT
    toDate(l.placed_at) AS day,
    l.department AS department,
    l.category AS category,
    l.brand AS brand,
    l.currency AS currency,
    o.status AS status,
    count() AS lines,
    sum(l.quantity) AS units,
    sum(l.quantity * l.unit_price_minor) AS amount_minor
FROM order_lines AS l JOIN orders AS o ON l.order_id = o.order_id
WHERE l.placed_at >= (SELECT toDateTime(max(until), 'UTC') FROM sales_history)
    AND o.placed_at >= (SELECT toDateTime(max(until), 'UTC') FROM sales_history)
GROUP BY day, department, category, brand, currency, status
