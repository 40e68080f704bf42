-- Each order's payment: `state` is what the last event says, `notes` what was heard of others, and what the provider is asked
-- for now. Version 0: nothing has happened yet.
CREATE TABLE payment (
    id         uuid PRIMARY KEY,
    version    bigint NOT NULL CHECK (version >= 0),
    state      jsonb NOT NULL,
    notes      jsonb NOT NULL,
    steps      jsonb NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE INDEX payment_unknown ON payment (updated_at) WHERE state ->> 'status' = 'unknown';
CREATE INDEX payment_cases ON payment (id) WHERE state -> 'cases' <> '[]';

GRANT SELECT, INSERT, UPDATE ON payment TO payments;
