-- Moments at which a command falls due; `name` says which, by the service's manifest. A row goes when it has become the
-- command, in that command's transaction, or when the moment no longer matters.
-- `try_at` is `due_at`, or later when the command has failed: `attempts` times, with `error` last.
CREATE TABLE deadline (
    aggregate_id text NOT NULL,
    name         text NOT NULL,
    due_at       timestamptz NOT NULL,
    try_at       timestamptz NOT NULL,
    attempts     integer NOT NULL DEFAULT 0,
    error        text,
    PRIMARY KEY (aggregate_id, name)
);

CREATE INDEX deadline_try_at ON deadline (try_at);

-- Calls to somebody outside. `id` is the operation's, with whoever is called, too: its idempotency key.
-- Nobody else takes a task before `try_at`: while somebody has it that is the end of the lease, after a failure the end
-- of the pause. `attempts` counts how often it was taken.
CREATE TABLE task (
    id        text PRIMARY KEY,
    kind      text NOT NULL,
    arguments jsonb NOT NULL,
    state     text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'given up')),
    attempts  integer NOT NULL DEFAULT 0,
    asked_at  timestamptz NOT NULL,
    try_at    timestamptz NOT NULL,
    error     text
);

CREATE INDEX task_try_at ON task (try_at) WHERE state = 'waiting';

DO $$ BEGIN
    EXECUTE 'GRANT SELECT, INSERT, UPDATE, DELETE ON deadline TO ' || quote_ident(current_schema());
    EXECUTE 'GRANT SELECT, INSERT, UPDATE ON task TO ' || quote_ident(current_schema());
END $$;
