-- One schema for both databases; the rules are in src/store/mod.rs. Columns are TEXT, BIGINT and BLOB (on Postgres the
-- migrator writes BYTEA). Times say their unit in their names, JSON is TEXT, ids are TEXT and sort by time of creation.

CREATE TABLE settings (
    name TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
);

CREATE TABLE environments (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    created_at_ms BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY NOT NULL,
    environment_id TEXT NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    sha256 BLOB NOT NULL UNIQUE,
    created_at_ms BIGINT NOT NULL
);

CREATE TABLE integrations (
    id TEXT PRIMARY KEY NOT NULL,
    environment_id TEXT NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    unique_key TEXT NOT NULL,
    provider TEXT NOT NULL,
    display_name TEXT NOT NULL,
    secrets BLOB,
    forward_webhooks TEXT NOT NULL CHECK (forward_webhooks IN ('on', 'off')),
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    UNIQUE (environment_id, unique_key)
);

CREATE TABLE connections (
    connection_key TEXT PRIMARY KEY NOT NULL,
    environment_id TEXT NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    integration_id TEXT NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    connection_id TEXT NOT NULL,
    credentials BLOB NOT NULL,
    connection_config BLOB NOT NULL,
    metadata TEXT NOT NULL,
    tags TEXT NOT NULL,
    end_user TEXT,
    end_user_id TEXT,
    -- Lower-cased connection-id and end user's id, e-mail and name, one a line: what `search` looks in.
    search_text TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    UNIQUE (integration_id, connection_id)
);
CREATE INDEX connections_newest ON connections (environment_id, created_at_ms, connection_key);

CREATE TABLE components (
    digest TEXT PRIMARY KEY NOT NULL,
    bytes BLOB NOT NULL
);

CREATE TABLE deployments (
    id TEXT PRIMARY KEY NOT NULL,
    integration_id TEXT NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    digest TEXT NOT NULL REFERENCES components (digest),
    component_bytes_len BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL
);
CREATE INDEX deployments_of_integration ON deployments (integration_id);

CREATE TABLE functions (
    integration_id TEXT NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    active_version BIGINT NOT NULL,
    PRIMARY KEY (integration_id, name)
);

CREATE TABLE function_versions (
    integration_id TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    deployment_id TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    manifest TEXT NOT NULL,
    deployed_at_ms BIGINT NOT NULL,
    PRIMARY KEY (integration_id, name, version),
    FOREIGN KEY (integration_id, name) REFERENCES functions (integration_id, name) ON DELETE CASCADE
);
CREATE INDEX function_versions_of_deployment ON function_versions (deployment_id);

CREATE TABLE syncs (
    id TEXT PRIMARY KEY NOT NULL,
    environment_id TEXT NOT NULL,
    integration_id TEXT NOT NULL REFERENCES integrations (id) ON DELETE CASCADE,
    connection_key TEXT NOT NULL REFERENCES connections (connection_key) ON DELETE CASCADE,
    function TEXT NOT NULL,
    variant TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('started', 'paused')),
    frequency_ms BIGINT CHECK (frequency_ms > 0),
    next_due_at_ms BIGINT,
    UNIQUE (connection_key, function, variant)
);
CREATE INDEX syncs_of_integration ON syncs (integration_id);
CREATE INDEX syncs_due ON syncs (next_due_at_ms, id) WHERE state = 'started' AND frequency_ms IS NOT NULL;

-- Rows outlive the connection and the sync they were for: they are history. Hence no foreign keys here and in the log.
CREATE TABLE runs (
    id TEXT PRIMARY KEY NOT NULL,
    environment_id TEXT NOT NULL,
    integration_id TEXT NOT NULL,
    connection_key TEXT NOT NULL,
    function TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('action', 'sync')),
    version BIGINT NOT NULL,
    sync_id TEXT,
    triggered_by TEXT NOT NULL CHECK (triggered_by IN ('api', 'schedule')),
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    error TEXT,
    result TEXT,
    created_at_ms BIGINT NOT NULL,
    started_at_ms BIGINT,
    ended_at_ms BIGINT,
    duration_us BIGINT,
    lease_until_ms BIGINT,
    fence BIGINT NOT NULL DEFAULT 0
);
-- All partial, so that the rows of actions, which are most, cost nothing but their primary key.
CREATE INDEX runs_of_sync ON runs (sync_id, id) WHERE sync_id IS NOT NULL;
CREATE UNIQUE INDEX runs_one_open_of_sync ON runs (sync_id)
    WHERE sync_id IS NOT NULL AND state IN ('queued', 'running');
CREATE INDEX runs_open ON runs (created_at_ms, id) WHERE sync_id IS NOT NULL AND state IN ('queued', 'running');

CREATE TABLE checkpoints (
    connection_key TEXT NOT NULL REFERENCES connections (connection_key) ON DELETE CASCADE,
    checkpoint_key TEXT NOT NULL,
    -- Null once cleared; the version goes on counting.
    json TEXT,
    version BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    PRIMARY KEY (connection_key, checkpoint_key)
);

-- The last change of each model. Writers of a model update this row first: it puts them in line, and gives each a time
-- of change that is later than all before.
CREATE TABLE record_models (
    connection_key TEXT NOT NULL REFERENCES connections (connection_key) ON DELETE CASCADE,
    model TEXT NOT NULL,
    modified_at_us BIGINT NOT NULL,
    PRIMARY KEY (connection_key, model)
);

CREATE TABLE records (
    connection_key TEXT NOT NULL,
    model TEXT NOT NULL,
    external_id TEXT NOT NULL,
    hash BLOB NOT NULL,
    data TEXT NOT NULL,
    first_seen_at_us BIGINT NOT NULL,
    modified_at_us BIGINT NOT NULL,
    -- Place within the write of that moment.
    sequence BIGINT NOT NULL,
    deleted_at_us BIGINT,
    PRIMARY KEY (connection_key, model, external_id),
    FOREIGN KEY (connection_key, model) REFERENCES record_models (connection_key, model) ON DELETE CASCADE
);
CREATE UNIQUE INDEX records_changes ON records (connection_key, model, modified_at_us, sequence);

CREATE TABLE operations (
    id TEXT PRIMARY KEY NOT NULL,
    environment_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'success', 'failed')),
    provider_config_key TEXT,
    connection_id TEXT,
    function TEXT,
    run_id TEXT,
    message TEXT NOT NULL,
    started_at_ms BIGINT NOT NULL,
    ended_at_ms BIGINT,
    duration_us BIGINT
);

CREATE TABLE messages (
    operation_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    level TEXT NOT NULL CHECK (level IN ('debug', 'info', 'warn', 'error')),
    source TEXT NOT NULL CHECK (source IN ('user', 'internal')),
    body TEXT NOT NULL,
    fields TEXT,
    PRIMARY KEY (operation_id, sequence)
);
