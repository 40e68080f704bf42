-- How far each of the service's reactions is, in each partition of its topic: the next offset that it needs.
CREATE TABLE position (
    consumer    text NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (consumer, partition)
) WITH (fillfactor = 50);

-- The last version of each aggregate that a reaction has applied.
CREATE TABLE version (
    consumer     text NOT NULL,
    aggregate_id text NOT NULL,
    version      bigint NOT NULL,
    PRIMARY KEY (consumer, aggregate_id)
) WITH (fillfactor = 70);

-- Events that a reaction could not apply, and those that wait behind them. The events stay in their topic.
CREATE TABLE parked (
    consumer     text NOT NULL,
    partition    integer NOT NULL,
    "offset"     bigint NOT NULL,
    aggregate_id text NOT NULL,
    reason       text NOT NULL,
    parked_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, partition, "offset")
);

DO $$ BEGIN
    EXECUTE 'GRANT SELECT, INSERT, UPDATE ON position, version TO ' || quote_ident(current_schema());
    EXECUTE 'GRANT SELECT, INSERT ON parked TO ' || quote_ident(current_schema());
END $$;
