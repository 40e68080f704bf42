-- Each order's parcels, and its returns: `state` is what the last event says, `notes` what was heard of others.
-- Version 0: nothing has happened yet.
CREATE TABLE fulfilment (
    id         uuid PRIMARY KEY,
    version    bigint NOT NULL CHECK (version >= 0),
    state      jsonb NOT NULL,
    notes      jsonb NOT NULL,
    steps      jsonb NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE returns (
    id         uuid PRIMARY KEY,
    version    bigint NOT NULL CHECK (version >= 0),
    state      jsonb NOT NULL,
    notes      jsonb NOT NULL,
    steps      jsonb NOT NULL,
    updated_at timestamptz NOT NULL
);

-- Whose parcel the carrier's number is.
CREATE TABLE label (
    tracking text PRIMARY KEY,
    order_id uuid NOT NULL,
    shipment integer NOT NULL
);

CREATE INDEX fulfilment_cases ON fulfilment (id) WHERE state -> 'cases' <> '[]';

GRANT SELECT, INSERT, UPDATE ON fulfilment, returns TO shipping;
GRANT SELECT, INSERT ON label TO shipping;
