-- How the chores of `ops keep` go. `failing_since` and `error` are of the failures since it last went well.
CREATE TABLE chore (
    name          text PRIMARY KEY,
    done_at       timestamptz,
    failing_since timestamptz,
    error         text
);

-- What stands still, or soon will, and since when `ops keep` has seen it.
CREATE TABLE trouble (
    what  text PRIMARY KEY,
    since timestamptz NOT NULL
);

-- How far each connector's slot is, since when, and why its task has failed there.
CREATE TABLE relay (
    connector     text PRIMARY KEY,
    confirmed_lsn numeric,
    moved_at      timestamptz NOT NULL,
    failure       text
);
