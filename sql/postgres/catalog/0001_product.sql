-- Every product, archived ones too: a sku is never used twice.
CREATE TABLE product (
    sku         text PRIMARY KEY,
    version     bigint NOT NULL CHECK (version >= 1),
    name        text NOT NULL,
    department  text NOT NULL,
    category    text NOT NULL,
    brand       text NOT NULL,
    price_minor bigint NOT NULL CHECK (price_minor >= 0),
    currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    archived    boolean NOT NULL,
    updated_at  timestamptz NOT NULL
);

GRANT SELECT, INSERT, UPDATE ON product TO catalog;
