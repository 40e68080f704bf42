-- What commands that took effect were answered with, written with their effects, so that a repeat gets it again.
-- `headers` is a JSON object. The primary key makes a repeat at the same time wait for the first.
CREATE TABLE answer (
    caller       text NOT NULL,
    route        text NOT NULL,
    key          text NOT NULL,
    request_hash bytea NOT NULL,
    status       smallint NOT NULL,
    headers      text NOT NULL,
    body         bytea NOT NULL,
    answered_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, route, key)
);

CREATE INDEX answer_answered_at ON answer (answered_at);

DO $$ BEGIN EXECUTE 'GRANT SELECT, INSERT ON answer TO ' || quote_ident(current_schema()); END $$;
