-- Since when a task has been done: housekeeping deletes it some time later.
ALTER TABLE task ADD COLUMN done_at timestamptz, ADD CHECK ((state = 'done') = (done_at IS NOT NULL));

-- Of what asked for it (W3C Trace Context): what follows from the answer has it, too.
ALTER TABLE task ADD COLUMN traceparent text;

-- Whoever looks for work, or at what waits, finds it however many are done.
DROP INDEX task_try_at;
CREATE INDEX task_waiting ON task (kind, state, try_at) WHERE state <> 'done';
CREATE INDEX task_done_at ON task (done_at) WHERE state = 'done';
