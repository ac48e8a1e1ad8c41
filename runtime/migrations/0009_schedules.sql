-- Schedules of syncs. Reading and writing is in src/store/schedules.rs, the rules are in docs/syncs.md.

-- Slots lie at anchor_ms + n * frequency_ms. `next_due_at_ms` is the next of them, or an earlier retry.
ALTER TABLE syncs ADD COLUMN anchor_ms BIGINT NOT NULL DEFAULT 0;
-- Who said `frequency_ms`: the function, or the API for this connection, which deploys leave alone.
ALTER TABLE syncs ADD COLUMN frequency_from TEXT NOT NULL DEFAULT 'function'
    CHECK (frequency_from IN ('function', 'connection'));
-- Failed runs in a row.
ALTER TABLE syncs ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;

-- More than 0: the syncs of the connection may not be those that are deployed. Grows with each deploy, so that who brings
-- them up to date notices another one meanwhile. The default makes it so for every new connection, whoever inserts it.
ALTER TABLE connections ADD COLUMN schedules_stale BIGINT NOT NULL DEFAULT 1;
CREATE INDEX connections_schedules_stale ON connections (connection_key) WHERE schedules_stale > 0;
