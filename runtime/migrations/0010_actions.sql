-- Actions that must not be forgotten: those that run in the background, and those with an idempotency key. Rows outlive
-- the connection they were for.
CREATE TABLE actions (
    id TEXT PRIMARY KEY NOT NULL,
    environment_id TEXT NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    provider_config_key TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    connection_key TEXT NOT NULL,
    function TEXT NOT NULL,
    input TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    -- Attempts begun, and how many may follow the first.
    attempts BIGINT NOT NULL,
    retries_max BIGINT NOT NULL,
    -- Not begun before.
    due_at_ms BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    started_at_ms BIGINT,
    ended_at_ms BIGINT,
    cancelled_at_ms BIGINT,
    run_id TEXT,
    output TEXT,
    error TEXT,
    idempotency_key TEXT,
    -- SHA-256 of what was asked for.
    fingerprint BLOB,
    -- 1: it was asked for in the background, so that the application is told when it has ended. 0: somebody waits for it.
    background BIGINT NOT NULL,
    lease_until_ms BIGINT,
    fence BIGINT NOT NULL
);
CREATE UNIQUE INDEX actions_of_key ON actions (environment_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX actions_queued ON actions (environment_id, connection_key, function, due_at_ms, id) WHERE state = 'queued';
CREATE INDEX actions_running ON actions (lease_until_ms) WHERE state = 'running';
CREATE INDEX actions_newest ON actions (environment_id, created_at_ms, id);
CREATE INDEX actions_ended ON actions (ended_at_ms) WHERE ended_at_ms IS NOT NULL;

-- Whoever claims actions updates this row first: limits of what runs at the same time are kept across processes.
CREATE TABLE action_claims (
    id TEXT PRIMARY KEY NOT NULL,
    claims BIGINT NOT NULL
);
INSERT INTO action_claims (id, claims) VALUES ('actions', 0);

-- Locks that functions hold.
CREATE TABLE locks (
    environment_id TEXT NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    lock_key TEXT NOT NULL,
    -- A run.
    owner TEXT NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (environment_id, lock_key)
);
CREATE INDEX locks_of_owner ON locks (owner);
CREATE INDEX locks_until ON locks (until_ms);

-- What a run took, JSON.
ALTER TABLE operations ADD COLUMN usage TEXT;
