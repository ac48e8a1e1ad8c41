-- Canaries: a deploy that a share of an integration's connections tries before it becomes active. The code is in src/store/canaries.rs.
-- The version that the share runs; null for functions that no canary is about.
ALTER TABLE functions ADD COLUMN canary_version BIGINT;

-- The last canary of each integration.
CREATE TABLE canaries (
    integration_id TEXT PRIMARY KEY NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    state TEXT NOT NULL CHECK (state IN ('running', 'promoted', 'rolled_back', 'aborted')),
    -- Of the connections.
    percent BIGINT NOT NULL,
    -- Of a function's runs may fail.
    errors_percent BIGINT NOT NULL,
    began_at_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    ended_at_ms BIGINT,
    reason TEXT
);

-- How the runs of its functions ended while it was running: of the version that is tried, and of the one that was active when it began.
CREATE TABLE canary_runs (
    integration_id TEXT NOT NULL REFERENCES canaries (integration_id) ON DELETE CASCADE,
    function TEXT NOT NULL,
    version BIGINT NOT NULL,
    tried TEXT NOT NULL CHECK (tried IN ('yes', 'no')),
    succeeded BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    PRIMARY KEY (integration_id, function, version)
);
