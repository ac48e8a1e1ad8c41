-- How the refreshing of a connection's credentials stands. Reading and writing is in src/store/refreshes.rs.

-- Counts imports: a refresh that began before an import must not undo it.
ALTER TABLE connections ADD COLUMN credentials_epoch BIGINT NOT NULL DEFAULT 0;
-- The fence of the refresh that obtained the credentials: one that began before it must not undo it either.
ALTER TABLE connections ADD COLUMN credentials_fence BIGINT NOT NULL DEFAULT 0;
-- From when on fresh credentials are wanted; null when time does not matter or nothing can be refreshed.
ALTER TABLE connections ADD COLUMN refresh_due_at_ms BIGINT;
-- The last success.
ALTER TABLE connections ADD COLUMN refreshed_at_ms BIGINT;
-- The last failure since, on how many days there was one, and the log operation that says why.
ALTER TABLE connections ADD COLUMN refresh_failed_at_ms BIGINT;
ALTER TABLE connections ADD COLUMN refresh_failing_days BIGINT NOT NULL DEFAULT 0;
ALTER TABLE connections ADD COLUMN refresh_operation_id TEXT;
CREATE INDEX connections_refresh_due ON connections (refresh_due_at_ms, connection_key) WHERE refresh_due_at_ms IS NOT NULL;

-- Who refreshes a connection at the moment. The row stays, so that its fence only ever grows.
CREATE TABLE refresh_leases (
    connection_key TEXT PRIMARY KEY NOT NULL REFERENCES connections (connection_key) ON DELETE CASCADE,
    -- For people who look at the database; the fence is what counts.
    owner TEXT NOT NULL,
    fence BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
);
