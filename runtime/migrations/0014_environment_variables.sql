-- Values that all functions of an environment may need. Reading and writing is in src/store/environment_variables.rs.
CREATE TABLE environment_variables (
    id TEXT PRIMARY KEY NOT NULL,
    environment_id TEXT NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- Sealed text.
    value BLOB NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    UNIQUE (environment_id, name)
);

-- The audit also has who was shown these. No integration is read then, and the kind is a new one: a column's CHECK can be changed in
-- both databases only by making the table anew.
ALTER TABLE credential_reads RENAME TO credential_reads_until_14;
CREATE TABLE credential_reads (
    id TEXT PRIMARY KEY NOT NULL,
    environment_id TEXT NOT NULL,
    read_at_ms BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('connection', 'import', 'integration', 'variables')),
    -- Null for environment variables.
    provider_config_key TEXT,
    -- Null for those of an integration, and for environment variables.
    connection_id TEXT,
    api_key_id TEXT NOT NULL,
    -- As it was named then.
    api_key_name TEXT NOT NULL,
    request_id TEXT NOT NULL,
    -- Whether fresh credentials were asked for, and whether the refresh token was shown with them.
    refresh TEXT NOT NULL CHECK (refresh IN ('when_due', 'forced')),
    refresh_token TEXT NOT NULL CHECK (refresh_token IN ('shown', 'hidden'))
);
INSERT INTO credential_reads (id, environment_id, read_at_ms, kind, provider_config_key, connection_id, api_key_id, api_key_name,
    request_id, refresh, refresh_token)
SELECT id, environment_id, read_at_ms, kind, provider_config_key, connection_id, api_key_id, api_key_name,
    request_id, refresh, refresh_token FROM credential_reads_until_14;
DROP TABLE credential_reads_until_14;
CREATE INDEX credential_reads_newest ON credential_reads (environment_id, id);
