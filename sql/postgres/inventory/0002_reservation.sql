-- What became of each order's demand for stock. `lines` is [{"sku", "quantity"}], for the release.
CREATE TABLE reservation (
    order_id   text PRIMARY KEY,
    version    bigint NOT NULL CHECK (version >= 1),
    status     text NOT NULL CHECK (status IN ('made', 'refused', 'released')),
    lines      jsonb NOT NULL,
    updated_at timestamptz NOT NULL
);

GRANT SELECT, INSERT, UPDATE ON reservation TO inventory;
