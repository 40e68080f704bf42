-- How many rows of each consumer differed when `verify` looked last.
CREATE TABLE verified (
    consumer    text PRIMARY KEY,
    differences bigint NOT NULL,
    looked_at   timestamptz NOT NULL
);
