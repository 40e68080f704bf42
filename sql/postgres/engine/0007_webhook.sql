-- What others have told the service, under their own ids: what comes again does nothing again.
-- `about` is what it names, `body` what was signed.
CREATE TABLE webhook (
    id          text PRIMARY KEY,
    about       text NOT NULL,
    body        bytea NOT NULL,
    received_at timestamptz NOT NULL
);

CREATE INDEX webhook_received_at ON webhook (received_at);

DO $$ BEGIN EXECUTE 'GRANT SELECT, INSERT ON webhook TO ' || quote_ident(current_schema()); END $$;
