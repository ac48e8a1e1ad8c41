-- Providers' webhooks that functions have still to handle. Reading and writing is in src/store/ingress.rs.

CREATE TABLE incoming_webhooks (
    id TEXT PRIMARY KEY NOT NULL,
    environment_id TEXT NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    -- Sealed JSON: what the functions are given. It goes with the last run for it.
    content BLOB NOT NULL,
    received_at_ms BIGINT NOT NULL
);

-- A run for each connection and each sync that wants the webhook. Rows go when the run has ended; what became of it is in the log.
CREATE TABLE webhook_runs (
    id TEXT PRIMARY KEY NOT NULL,
    incoming_id TEXT NOT NULL REFERENCES incoming_webhooks (id) ON DELETE CASCADE,
    environment_id TEXT NOT NULL,
    connection_key TEXT NOT NULL,
    function TEXT NOT NULL,
    queued_at_ms BIGINT NOT NULL,
    -- Not begun before.
    due_at_ms BIGINT NOT NULL,
    lease_until_ms BIGINT NOT NULL,
    fence BIGINT NOT NULL
);
CREATE INDEX webhook_runs_of_environment ON webhook_runs (environment_id);
CREATE INDEX webhook_runs_of_incoming ON webhook_runs (incoming_id);
-- What is for one connection and one function is handled one after the other.
CREATE INDEX webhook_runs_lines ON webhook_runs (connection_key, function, id);

-- Finding the connections whose values may have changed.
CREATE INDEX connections_changed ON connections (integration_id, updated_at_ms, connection_key);
