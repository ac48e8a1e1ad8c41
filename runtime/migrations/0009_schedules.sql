-- Schedules of syncs. Reading and writing is in src/store/schedules.rs, the rules are in docs/syncs.md.

-- Slots lie at anchor_ms + n * frequency_ms. `next_due_at_ms` is the next of them, or an earlier retry. 0 marks a row of a
-- release that had no schedules, until its connection is looked at.
ALTER TABLE syncs ADD COLUMN anchor_ms BIGINT NOT NULL DEFAULT 0;
-- In the place of `frequency_ms`: a crontab with its time zone. Its slots are found outside of the database.
ALTER TABLE syncs ADD COLUMN cron TEXT;
-- Who said when it runs: the function, or the API for this connection, which deploys leave alone.
ALTER TABLE syncs ADD COLUMN frequency_from TEXT NOT NULL DEFAULT 'function'
    CHECK (frequency_from IN ('function', 'connection'));
-- Failed runs in a row.
ALTER TABLE syncs ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;
DROP INDEX syncs_due;
CREATE INDEX syncs_due ON syncs (next_due_at_ms, id) WHERE state = 'started' AND next_due_at_ms IS NOT NULL;

-- A queued run with `lease_until_ms` waits until then: it was suspended. So that neither those nor running ones are looked at
-- before their time, the queue is ordered by when a run may be claimed.
DROP INDEX runs_open;
CREATE INDEX runs_open ON runs (COALESCE(lease_until_ms, 0), created_at_ms, id)
    WHERE sync_id IS NOT NULL AND state IN ('queued', 'running');

-- More than 0: the syncs of the connection may not be those that are deployed. Grows with each deploy, so that who brings
-- them up to date notices another one meanwhile. The default makes it so for every new connection, whoever inserts it.
ALTER TABLE connections ADD COLUMN schedules_stale BIGINT NOT NULL DEFAULT 1;
CREATE INDEX connections_schedules_stale ON connections (connection_key) WHERE schedules_stale > 0;
