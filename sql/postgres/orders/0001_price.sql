-- Orders' own copy of the catalog, kept by the reaction orders.prices.
CREATE TABLE price (
    sku         text PRIMARY KEY,
    version     bigint NOT NULL CHECK (version >= 1),
    name        text NOT NULL,
    department  text NOT NULL,
    category    text NOT NULL,
    brand       text NOT NULL,
    price_minor bigint NOT NULL CHECK (price_minor >= 0),
    currency    text NOT NULL,
    archived    boolean NOT NULL
);

GRANT SELECT, INSERT, UPDATE ON price TO orders;
