-- `lines` as in OrderPlaced.
-- An order changes its status once or twice soon after it was placed: the room left in a page keeps that in it.
CREATE TABLE orders (
    id          uuid PRIMARY KEY,
    version     bigint NOT NULL CHECK (version >= 1),
    customer_id text NOT NULL,
    status      text NOT NULL CHECK (status IN ('placed', 'confirmed', 'rejected', 'cancelled')),
    reason      text,
    currency    text NOT NULL,
    total_minor bigint NOT NULL CHECK (total_minor >= 0),
    lines       jsonb NOT NULL,
    placed_at   timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
) WITH (fillfactor = 70);

GRANT SELECT, INSERT, UPDATE ON orders TO orders;
