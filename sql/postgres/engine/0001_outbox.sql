-- A service's events, on their way to Kafka. Rows are only ever inserted.
-- The partitions are days (UTC), made well ahead, and dropped, by ops/outboxes.py. There is no default partition: making
-- one beside it takes its lock, and reads all of it.
CREATE TABLE outbox (
    id            uuid NOT NULL,
    aggregatetype text NOT NULL,
    aggregateid   text NOT NULL,
    type          text NOT NULL,
    version       bigint NOT NULL CHECK (version >= 1),
    payload       bytea NOT NULL,
    traceparent   text,
    occurred_at   timestamptz NOT NULL,
    PRIMARY KEY (id, occurred_at)
) PARTITION BY RANGE (occurred_at);

GRANT SELECT ON outbox TO debezium;

-- The service's role is named like its schema.
DO $$ BEGIN EXECUTE 'GRANT INSERT ON outbox TO ' || quote_ident(current_schema()); END $$;
