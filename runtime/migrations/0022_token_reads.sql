-- The audit also has which functions were told a token: then there is no API key and no request, but a function and its run. What may be
-- null can be changed in both databases only by making the table anew. The code is in src/store/credential_reads.rs.
ALTER TABLE credential_reads RENAME TO credential_reads_until_22;
CREATE TABLE credential_reads (
    id TEXT PRIMARY KEY NOT NULL,
    environment_id TEXT NOT NULL,
    read_at_ms BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('connection', 'import', 'integration', 'variables', 'token')),
    -- Null for environment variables.
    provider_config_key TEXT,
    -- Null for those of an integration, and for environment variables.
    connection_id TEXT,
    -- These three are null where a function was told.
    api_key_id TEXT,
    -- As it was named then.
    api_key_name TEXT,
    request_id TEXT,
    -- These three are null where an API key was shown; the run is null for a dry run.
    function TEXT,
    run_id TEXT,
    operation_id TEXT,
    -- Whether fresh credentials were asked for, and whether the refresh token was shown with them.
    refresh TEXT NOT NULL CHECK (refresh IN ('when_due', 'forced')),
    refresh_token TEXT NOT NULL CHECK (refresh_token IN ('shown', 'hidden'))
);
INSERT INTO credential_reads (id, environment_id, read_at_ms, kind, provider_config_key, connection_id, api_key_id, api_key_name,
    request_id, refresh, refresh_token)
SELECT id, environment_id, read_at_ms, kind, provider_config_key, connection_id, api_key_id, api_key_name,
    request_id, refresh, refresh_token FROM credential_reads_until_22;
DROP TABLE credential_reads_until_22;
CREATE INDEX credential_reads_newest ON credential_reads (environment_id, id);
