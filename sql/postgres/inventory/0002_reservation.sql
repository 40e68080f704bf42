-- What became of each order's demand for stock: `state` is what the last event says, `notes` what was heard of others.
-- Version 0: not decided yet.
CREATE TABLE reservation (
    id         uuid PRIMARY KEY,
    version    bigint NOT NULL CHECK (version >= 0),
    state      jsonb NOT NULL,
    notes      jsonb NOT NULL,
    steps      jsonb NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 50);

GRANT SELECT, INSERT, UPDATE ON reservation TO inventory;
