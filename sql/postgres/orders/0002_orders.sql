-- Orders, and exchanges of units of one order for another.
-- `state` is what the last event says; `lines` are those of OrderPlaced, which never change. `notes` are what orders have heard of
-- others, and `steps` how it has come here. An order changes often while it is young: the room left in a page keeps that in it.
CREATE TABLE orders (
    id         uuid PRIMARY KEY,
    version    bigint NOT NULL CHECK (version >= 1),
    state      jsonb NOT NULL,
    lines      jsonb NOT NULL,
    notes      jsonb NOT NULL,
    steps      jsonb NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE exchange (
    id         uuid PRIMARY KEY,
    version    bigint NOT NULL CHECK (version >= 1),
    state      jsonb NOT NULL,
    notes      jsonb NOT NULL,
    steps      jsonb NOT NULL,
    updated_at timestamptz NOT NULL
);

GRANT SELECT, INSERT, UPDATE ON orders, exchange TO orders;
