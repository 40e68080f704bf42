-- How far each of the service's reactions is, in each partition of its topic: the next offset that it needs, and the
-- leader epoch of the record before it.
CREATE TABLE position (
    consumer     text NOT NULL,
    partition    integer NOT NULL,
    next_offset  bigint NOT NULL,
    leader_epoch integer NOT NULL DEFAULT -1,
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
-- `code` is the fingerprint of the code that tried last.
CREATE TABLE parked (
    consumer     text NOT NULL,
    partition    integer NOT NULL,
    "offset"     bigint NOT NULL,
    aggregate_id text NOT NULL,
    version      bigint NOT NULL,
    cause        text NOT NULL,
    reason       text NOT NULL,
    code         text NOT NULL,
    since        timestamptz NOT NULL,
    PRIMARY KEY (consumer, partition, "offset")
);

-- Events that an operator has dropped, and why: they are skipped.
CREATE TABLE dropped (
    consumer   text NOT NULL,
    partition  integer NOT NULL,
    "offset"   bigint NOT NULL,
    reason     text NOT NULL,
    dropped_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, partition, "offset")
);

-- What operators want of parked events; the reaction that owns the partition carries it out and deletes the row.
CREATE TABLE request (
    id           text PRIMARY KEY,
    consumer     text NOT NULL,
    partition    integer NOT NULL,
    action       text NOT NULL CHECK (action IN ('retry', 'drop', 'pass')),
    aggregate_id text NOT NULL,
    reason       text NOT NULL,
    "offset"     bigint NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now()
);

DO $$ BEGIN
    EXECUTE 'GRANT SELECT, INSERT, UPDATE ON position, version TO ' || quote_ident(current_schema());
    EXECUTE 'GRANT SELECT, INSERT, UPDATE, DELETE ON parked TO ' || quote_ident(current_schema());
    EXECUTE 'GRANT SELECT, INSERT ON dropped TO ' || quote_ident(current_schema());
    EXECUTE 'GRANT SELECT, INSERT, DELETE ON request TO ' || quote_ident(current_schema());
END $$;
