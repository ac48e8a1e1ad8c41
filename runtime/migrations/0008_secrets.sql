-- Who was shown credentials. Reading and writing is in src/store/credential_reads.rs. Rows outlive what they are about: they are
-- history, hence no foreign keys.
CREATE TABLE credential_reads (
    id TEXT PRIMARY KEY NOT NULL,
    environment_id TEXT NOT NULL,
    read_at_ms BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('connection', 'import', 'integration')),
    provider_config_key TEXT NOT NULL,
    -- Null for those of an integration.
    connection_id TEXT,
    api_key_id TEXT NOT NULL,
    -- As it was named then.
    api_key_name TEXT NOT NULL,
    request_id TEXT NOT NULL,
    -- Whether fresh credentials were asked for, and whether the refresh token was shown with them.
    refresh TEXT NOT NULL CHECK (refresh IN ('when_due', 'forced')),
    refresh_token TEXT NOT NULL CHECK (refresh_token IN ('shown', 'hidden'))
);
CREATE INDEX credential_reads_newest ON credential_reads (environment_id, id);
