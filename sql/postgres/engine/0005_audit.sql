-- What people have done by hand, and why: rows are only ever inserted.
CREATE TABLE audit (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL,
    who          text NOT NULL,
    command      text NOT NULL,
    aggregate_id text NOT NULL,
    reason       text NOT NULL,
    data         jsonb NOT NULL
);

CREATE INDEX audit_aggregate ON audit (aggregate_id, id);

DO $$ BEGIN EXECUTE 'GRANT SELECT, INSERT ON audit TO ' || quote_ident(current_schema()); END $$;
