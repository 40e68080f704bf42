-- Every stock item. Version 0 lives only inside the transaction of its first receipt.
-- Rows are updated often and no index covers what changes: the room left in a page keeps updates in it.
CREATE TABLE stock (
    sku        text PRIMARY KEY,
    version    bigint NOT NULL CHECK (version >= 0),
    on_hand    bigint NOT NULL,
    reserved   bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    CHECK (on_hand >= reserved AND reserved >= 0)
) WITH (fillfactor = 50);

GRANT SELECT, INSERT, UPDATE ON stock TO inventory;
